package robustness

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

var (
	drills      = flag.Int("drills", 1, "how many kill drills, with seeds that follow one another")
	drillNames  = flag.Int("drill-names", 240, "how many names objects have in a drill")
	drillKills  = flag.Int("drill-kills", 1, "at how many steps of a failover its driver dies; 0 to draw it")
	drillExtras = flag.String("drill-extras", "", "what else may happen in a drill, if the seed draws it: second, rebalance")
	drillCalm   = flag.Duration("drill-calm", 3*time.Second, "how long clients write before anything breaks")
	drillRate   = flag.Float64("drill-rate", 0, "how many writes a second must be acknowledged before anything breaks")
	drillP99    = flag.Float64("drill-p99", 0, "how many times as long as before requests for objects of other cells may take during a failover, by their p99 of all drills; 0 to print it alone")
	drillGap    = flag.Duration("drill-gap", 0, "how long a cell that was stopped may go on after its failover before it refuses its own controllers; 0 to print it alone")
)

const (
	drillCells = 5
	// fillers is how many make the objects at once.
	fillers = 32
	// warmUp is how long clients write before that counts as calm: they all begin at once, and know no object yet.
	warmUp = time.Second
)

// drill is one run: a cell dies under clients, is failed over, comes back, and is taken in again.
type drill struct {
	*proof
	in *drillBed
	// planned is what was drawn, plan what is left of it.
	planned, plan drillPlan

	random *rand.Rand
	sealed *copies

	losses []history.Loss
	// lostExhibits are those that a failover has named as lost, by its names.
	lostExhibits map[string]bool
	// calm and trouble are when nothing was broken, and from the death of the first cell to the end of its failover.
	calm, trouble span
	// load is what calm took.
	load sandboxtest.Load
	// beside is how long requests took meanwhile that have nothing to do with the deaths.
	beside history.Beside
	// deceased are the cells that died, in order, with the keys that each had.
	deceased []deceased
	// ordered is when the first failover was ordered.
	ordered int64
}

// span is a time by the clock of the record.
type span struct{ from, to int64 }

// deceased is a cell that died, the keys that it had then or that were on their way from or to it, and those of which it had
// the copies.
type deceased struct {
	name         string
	keys, copies map[string]bool
}

// TestDrill has a cell die under clients, and judges that what was acknowledged is there but for what was named. Drills
// follow one another in one federation, so that a cell which came back may die again; one that failed is the last in its.
func TestDrill(t *testing.T) {
	wantedExtras(t) // to be told of a mistyped one at once
	seed := *firstSeed
	if seed == 0 {
		seed = uint64(rand.Uint32()) + 1
	}
	done, end := newCoverage(), seed+uint64(*drills)
	var beside []history.Beside
	for seed < end {
		t.Run(fmt.Sprintf("from-%d", seed), func(t *testing.T) {
			b := newDrillBed(t)
			for ; seed < end && !t.Failed(); seed++ {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					t.Logf("to repeat: go test ./test/robustness -run TestDrill -v -timeout 3h -args -seed %d -drill-names %d -drill-kills %d -drill-extras %q -clients %d",
						seed, *drillNames, *drillKills, *drillExtras, *clients)
					d := b.rehearse(t, seed)
					done.merge(d.done)
					if !d.planned.rebalance {
						beside = append(beside, d.beside)
					}
				})
			}
		})
	}
	steps := make([]string, 0, len(failoverSteps()))
	for _, step := range failoverSteps() {
		steps = append(steps, string(step))
	}
	t.Logf("deaths of drivers and restarts of the backup daemon at steps:\n%s", done.table(steps, []fault{killDriver, backedUp}))
	slowdown := validate.SlowdownOf(beside)
	t.Log(slowdown)
	// Seeds that follow one another have all fates of the daemon.
	const all = 12
	if *drills >= all && (slowdown.Drills == 0 || done.total(backedUp) == 0) {
		t.Errorf("of %d drills, the traffic beside %d can be compared, and the backup daemon was restarted in the middle of %d: this proves nothing",
			*drills, slowdown.Drills, done.total(backedUp))
	}
	for _, problem := range validate.Undisturbed(slowdown, *drillP99) {
		t.Error(problem)
	}
}

// rehearse carries one drill out, and says what it came to.
func (b *drillBed) rehearse(t *testing.T, seed uint64) *drill {
	b.t, b.record, b.odd = t, history.NewRecorder(), nil
	defer b.keep(seed)
	ctx, cancel := context.WithCancel(t.Context())
	d := &drill{
		proof: &proof{traffic: b.traffic, moving: map[string]bool{}, ctx: ctx, done: newCoverage()}, in: b,
		plan: planDrill(seed, *drillKills, wantedExtras(t)), random: rand.New(rand.NewPCG(seed, 0)),
		sealed: &copies{last: map[copyID]*unstructured.Unstructured{}}, lostExhibits: map[string]bool{},
	}
	d.planned = d.plan
	defer d.watching.Wait()
	defer cancel()
	t.Log(d.plan)
	d.prepare()
	d.underWriters(seed, func() {
		d.beCalm()
		moved := d.beginToMove()
		d.failOver()
		if d.plan.second {
			d.recopied()
			d.failOver()
		}
		moved()
		d.intact("in a failover")
		for _, cell := range d.deceased {
			d.comeBack(cell)
		}
		d.rebalanceBack()
		d.intact("on the way back")
	})
	d.judgeDrill()
	t.Logf("%s judged", d.clock())
	return d
}

// prepare makes what is not there of all objects, and waits until each has its copy.
func (d *drill) prepare() {
	d.t.Helper()
	for _, cell := range d.allCells() {
		d.watching.Go(func() { d.sealed.follow(d.ctx, cell) })
	}
	if d.in.exhibits == nil {
		d.impatient()
		d.protect()
		d.start(d.backupSpec())
		d.exhibit()
	}
	found := d.final()
	d.found(found)
	d.fill(d.ctx, fillers, found)
	d.recopied()
	d.t.Logf("%s there are %d objects, of which %d were there", d.clock(), len(d.keys), len(found))
}

// beCalm lets clients write while nothing is broken.
func (d *drill) beCalm() {
	d.t.Helper()
	sleep(d.ctx, warmUp)
	before := sandboxtest.LoadNow(d.t)
	d.calm.from = d.record.Now()
	sleep(d.ctx, *drillCalm)
	d.calm.to = d.record.Now()
	d.load = sandboxtest.LoadNow(d.t).Since(before)
}

// found begins the record with the objects that are there.
func (d *drill) found(all map[string]history.State) {
	ops := make([]history.Op, 0, len(all))
	for key, state := range all {
		ops = append(ops, history.Op{Client: lister, Via: "both routers", Key: key, Verb: history.Found, Outcome: history.OK, Seen: state})
	}
	d.record.Add(ops...)
}

// underWriters does something while all clients write and list, and returns when the last of their requests is answered.
func (d *drill) underWriters(seed uint64, do func()) {
	stopping, stop := context.WithCancel(d.ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	working.Go(func() { d.traffic.run(d.ctx, stopping, *clients, seed) })
	working.Go(func() { d.keepListing(stopping) })
	do()
	sleep(d.ctx, time.Second)
}
