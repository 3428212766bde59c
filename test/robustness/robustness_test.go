package robustness

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	firstSeed      = flag.Uint64("seed", 0, "what is drawn in the first run; 0 draws it")
	seeds          = flag.Int("seeds", 1, "how many runs, with seeds that follow one another")
	stageNames     = flag.String("stages", "join", "changes of the ring, one after another: join, leave, weights")
	faultNames     = flag.String("faults", "kill,suspend,router,direct", "what breaks: kill, suspend, router, crash, stop, cell, pause, abort, direct, random, backup")
	stepsDisturbed = flag.Int("steps", 4, "at how many of the named steps something breaks; 0 for all")
	firstCells     = flag.Int("cells", 2, "how many cells there are before one joins")
	clients        = flag.Int("clients", 16, "how many write at once")
	names          = flag.Int("names", 320, "how many names objects have")
	rate           = flag.Int("rate", 15, "units that begin to move in a second")
)

// proof is one run.
type proof struct {
	*traffic
	breaker *breaker
	faults  []fault
	moving  map[string]bool // keys that move at some time
	done    *coverage
	// reached are the steps that came in this run, here those that came in this change of the ring.
	reached, here map[string]bool
	schedule      *schedule
	// obstacle is nil where none is in the way of a unit.
	obstacle *obstacle
	// spare is how often the run may still be aborted at random, in this change of the ring.
	spare int
	// aborted is the step at which the run took an abort, empty where it did not.
	aborted string
	// beside waits for the drivers that go on after others have taken over, and for routers that are stopped.
	beside sync.WaitGroup
	// keeper is nil where no backup daemon takes part.
	keeper    *keeper
	takenOver int // how often it took a run over

	ctx      context.Context // of all that watches and writes
	watching sync.WaitGroup
	shown    []*watcher // through routers
	inCells  []*watcher
}

// TestRebalance has clients write while the ring changes and things break, and judges what they saw.
func TestRebalance(t *testing.T) {
	given := wantedFaults(t)
	wantedStages(t) // to be told of a mistyped one at once
	seed := *firstSeed
	if seed == 0 {
		seed = uint64(rand.Uint32()) + 1
	}
	plans := newSchedule()
	done, all := plans.done, *stepsDisturbed == 0 && *seeds >= seedsToCoverAll
	for n := range uint64(*seeds) {
		t.Run(fmt.Sprint(seed+n), func(t *testing.T) {
			first, count := toRepeat(seed, n, *stepsDisturbed)
			t.Logf("to repeat: go test ./test/robustness -run TestRebalance -v -timeout 3h -args -seed %d -seeds %d -stages %s -faults %q -steps %d -cells %d -clients %d -names %d -rate %d",
				first, count, *stageNames, *faultNames, *stepsDisturbed, *firstCells, *clients, *names, *rate)
			prove(t, seed+n, plans, all && n == uint64(*seeds)-1)
		})
	}
	faults, moments := stepFaults(given), stepNames()
	if slices.Contains(given, random) {
		moments = append(moments, anyTime)
	}
	t.Logf("faults at steps:\n%s", done.table(moments, faults))
	if missing := done.missing(moments, faults); *stepsDisturbed == 0 && len(missing) > 0 {
		tell := t.Logf
		if all {
			tell = t.Errorf
		}
		tell("%d of %d pairs have not happened: %s", len(missing), pairs(moments, faults), strings.Join(missing, ", "))
	}
}

// toRepeat is the first seed and how many that draw what the nth after first drew. With all steps disturbed its plans have
// what is owed by those before.
func toRepeat(first, n uint64, steps int) (from, count uint64) {
	if steps == 0 {
		return first, n + 1
	}
	return first + n, 1
}

// prove carries one run out. The last one of many changes the ring until all that was planned has happened.
func prove(t *testing.T, seed uint64, plans *schedule, last bool) {
	b := newBed(t, *firstCells)
	defer b.keep(seed)
	ctx, cancel := context.WithCancel(t.Context())
	p := &proof{
		traffic: &traffic{bed: b, keys: append(allKeys(*names), heldKeys()...), reports: true}, moving: map[string]bool{}, ctx: ctx, faults: wantedFaults(t),
		breaker: &breaker{bed: b, random: rand.New(rand.NewPCG(seed, 0))}, done: newCoverage(),
		reached: map[string]bool{}, schedule: plans,
	}
	if slices.Contains(p.faults, backedUp) && seed%2 == 1 {
		p.keeper = &keeper{spec: b.backupSpec(), away: true}
		p.backUp()
	}
	defer p.watching.Wait()
	defer cancel()
	for _, a := range append(b.allCells(), b.through...) {
		p.follow(a)
	}
	p.fill(ctx, *clients, nil)
	p.underLoad(seed, func() {
		all := wantedStages(t)
		for i, stage := range all {
			p.stage(stage, p.plan(seed, len(all), i))
		}
		for n := 0; last && n < latecomers && plans.owes() && !t.Failed(); n++ {
			p.stage("weights", plans.next(nil))
		}
	})
	p.judge()
	t.Logf("%s judged", p.clock())
	if never := p.done.never(rebalanceSteps(), stepFaults(p.faults)); *stepsDisturbed == 0 && len(never) > 0 {
		t.Errorf("never in this run: %s", strings.Join(never, ", "))
	}
	for _, step := range stepNames() {
		if *stepsDisturbed == 0 && !p.reached[step] {
			t.Errorf("the run never came to %s", step)
		}
	}
}

// plan is that of the nth of so many changes of the ring. Those of seeds that follow one another do so as well.
func (p *proof) plan(seed uint64, stages, n int) faultPlan {
	if *stepsDisturbed > 0 {
		return shortPlan(rand.New(rand.NewPCG(seed, uint64(n)+1)), p.faults, *stepsDisturbed)
	}
	return p.schedule.next(planOf(p.faults, int(seed%(1<<16))*stages+n))
}

// follow watches all kinds in one place until the run has ended.
func (p *proof) follow(a access) {
	begin := func(w *watcher, to *[]*watcher) {
		*to = append(*to, w)
		p.watching.Go(func() { w.run(p.ctx) })
	}
	for _, kind := range kinds() {
		if strings.HasPrefix(a.name, "router") {
			begin(p.watch(a, kind, false), &p.shown)
			begin(p.watch(a, kind, true), &p.shown)
		} else {
			begin(p.watch(a, kind, false), &p.inCells)
		}
	}
}

// underLoad does something while all clients write, and returns when the last of their requests is answered.
func (p *proof) underLoad(seed uint64, do func()) {
	stopping, stop := context.WithCancel(p.ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	working.Go(func() { p.traffic.run(p.ctx, stopping, *clients, seed) })
	working.Go(func() { p.keepListing(stopping) })
	working.Go(func() { p.keepPolling(stopping) })
	working.Go(func() { p.keepBurying(stopping) })
	if slices.Contains(p.faults, bypass) {
		working.Go(func() { p.keepBypassing(p.ctx, stopping, seed) })
	}
	sleep(p.ctx, time.Second) // of ordinary work, to have something to lose
	do()
	sleep(p.ctx, time.Second)
}
