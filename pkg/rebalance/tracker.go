package rebalance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

const (
	// maxFailuresShown is how many failures a status has room for.
	maxFailuresShown = 100
	// speedOver is the time over which speed is measured.
	speedOver = 30 * time.Second
	// maxMessage is how much of a failure's reason is kept, in bytes.
	maxMessage = 500
)

type pair struct{ from, to string }

// tracker knows how far a run is. Whoever moves something tells it; the publisher writes it down.
type tracker struct {
	mu sync.Mutex
	// The rest is guarded by mu.
	base    v1alpha1.RebalanceProgress // what is not below
	pairs   map[pair]*v1alpha1.PairProgress
	failing map[string]v1alpha1.UnitFailure
	// unshown is how many failures count that an earlier driver had no room to write down, while the run is paused: none of
	// them is tried again before all are forgiven.
	unshown int64
	blocked durations
	cells   map[string]*cellTrack
	// problems are why cells cannot be used, by name.
	problems map[string]error
	samples  []sample // one for each snapshot, not older than speedOver
	moved    int64    // by this driver
	// kick has a token when the status should be written now.
	kick chan struct{}
}

type sample struct {
	at    time.Time
	moved int64
}

type cellTrack struct {
	blocked durations
	latency time.Duration
}

// newTracker goes on from what an earlier driver wrote.
func newTracker(before *v1alpha1.RebalanceProgress, driver string) *tracker {
	t := &tracker{
		base: *before.DeepCopy(), pairs: map[pair]*v1alpha1.PairProgress{}, failing: map[string]v1alpha1.UnitFailure{},
		cells: map[string]*cellTrack{}, kick: make(chan struct{}, 1),
	}
	t.base.Driver = driver
	for _, p := range before.Pairs {
		p.InFlight, p.Failed = 0, 0
		t.pairs[pair{p.From, p.To}] = &p
	}
	for _, f := range before.Failures {
		t.failing[failureOf(f.Key, f.From)] = f
	}
	if before.Phase == v1alpha1.RebalancePaused {
		t.unshown = max(0, before.FailedUnits-t.countFailed())
	}
	return t
}

// failureOf is what tells failures apart: objects of one key may go two ways.
func failureOf(key, from string) string { return key + "\x00" + from }

// edit changes what is told directly, and has it written at once.
func (t *tracker) edit(change func(*v1alpha1.RebalanceProgress)) {
	t.mu.Lock()
	change(&t.base)
	t.mu.Unlock()
	t.urge()
}

// toTheSecond is the time as a record keeps it. With a finer one, a status would never be the one that was written.
func toTheSecond() metav1.Time { return metav1.Now().Rfc3339Copy() }

func (t *tracker) urge() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// phase is only written where it is another one.
func (t *tracker) phase(phase v1alpha1.RebalancePhase) {
	t.mu.Lock()
	same := t.base.Phase == phase
	t.base.Phase = phase
	t.mu.Unlock()
	if !same {
		t.urge()
	}
}

// final says whether this driver has brought the run to its end.
func (t *tracker) final() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.base.Phase.Final()
}

// started dates a run that the Ring has accepted, and says from which epoch on, where that is not known yet. It is never
// written before: a record with a date is one that must not begin again. One that was made anew meets the Ring in any phase.
func (t *tracker) started(ring *v1alpha1.RingStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.base.StartTime != nil {
		return
	}
	now := toTheSecond()
	t.base.StartTime, t.base.FromEpoch = &now, ring.AcceptedEpoch
	t.urge()
}

func (t *tracker) condition(kind string, good bool, reason, message string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.setCondition(kind, good, reason, message)
}

// setCondition is condition for who holds mu.
func (t *tracker) setCondition(kind string, good bool, reason, message string) {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: toTheSecond()}
	if !good {
		c.Status = metav1.ConditionFalse
	}
	was := apimeta.FindStatusCondition(t.base.Conditions, kind)
	urgent := was == nil && !good || was != nil && was.Status != c.Status
	if apimeta.SetStatusCondition(&t.base.Conditions, c); urgent {
		t.urge()
	}
}

// expect sets the totals by what is there to be moved. What an earlier driver moved and had no time to
// write down is what is missing of its totals, unless a cell has left the ring since: nothing moves between that one and
// others any more. What failed and is not there any more is not tried again.
func (t *tracker) expect(ring *v1alpha1.RingStatus, found *migration.Found) {
	t.mu.Lock()
	defer t.mu.Unlock()
	remaining, there := map[pair]int64{}, map[string]bool{}
	for _, u := range found.Units {
		remaining[pair{u.From, u.To}]++
		there[failureOf(u.Key, u.From)] = true
	}
	for _, u := range found.Strays {
		there[failureOf(u.Key, u.From)] = true
	}
	maps.DeleteFunc(t.failing, func(id string, _ v1alpha1.UnitFailure) bool { return !there[id] })
	from, to := cellsOf(ring.Current), cellsOf(ring.Target)
	maps.DeleteFunc(t.pairs, func(p pair, _ *v1alpha1.PairProgress) bool {
		return !slices.Contains(from, p.from) || !slices.Contains(to, p.to)
	})
	for p := range remaining {
		t.of(p)
	}
	for p, progress := range t.pairs {
		n := remaining[p]
		progress.Moved = max(progress.Moved, progress.Total-n)
		progress.Total = max(progress.Total, progress.Moved+n)
	}
}

// restart forgets the totals: the way back has its own.
func (t *tracker) restart() {
	t.mu.Lock()
	clear(t.pairs)
	clear(t.failing)
	t.unshown = 0
	t.samples = nil
	t.mu.Unlock()
	t.urge()
}

func (t *tracker) of(p pair) *v1alpha1.PairProgress {
	if t.pairs[p] == nil {
		t.pairs[p] = &v1alpha1.PairProgress{From: p.from, To: p.to}
	}
	return t.pairs[p]
}

func (t *tracker) cell(name string) *cellTrack {
	if t.cells[name] == nil {
		t.cells[name] = &cellTrack{}
	}
	return t.cells[name]
}

func (t *tracker) begun(p pair) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(p).InFlight++
}

// ended takes a unit out of the ones in flight. It was closed to writes for so long, 0 for not known.
func (t *tracker) ended(p pair, key string, blocked time.Duration, failure *v1alpha1.UnitFailure, counts bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	progress := t.of(p)
	progress.InFlight--
	if blocked > 0 {
		t.blocked.add(blocked)
		t.cell(p.from).blocked.add(blocked)
		t.cell(p.to).blocked.add(blocked)
	}
	id := failureOf(key, p.from)
	switch {
	case failure != nil:
		failure.Message = shorten(failure.Message, maxMessage)
		t.failing[id] = *failure
		return
	case counts:
		t.moved++
		progress.Moved++
		progress.Total = max(progress.Total, progress.Moved)
	}
	delete(t.failing, id)
}

// shorten cuts a text that has more bytes, and no character in two.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// failed is how many units count against the limit.
func (t *tracker) failed() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.countFailed()
}

func (t *tracker) countFailed() (n int64) {
	for _, f := range t.failing {
		if !f.Retrying {
			n++
		}
	}
	return n + t.unshown
}

// forgive lets every failure count anew.
func (t *tracker) forgive() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.failing)
	t.unshown = 0
}

func (t *tracker) latency(loads []load) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range loads {
		if l.writes >= enough {
			t.cell(l.cell).latency = l.latency
		}
	}
}

// unusable says which cells cannot be used: all others can.
func (t *tracker) unusable(problems map[string]error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.setProblems(maps.Clone(problems))
}

// asked says which of some cells cannot be used. What is known of others stays.
func (t *tracker) asked(cells []string, problems map[string]error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]error{}
	maps.Copy(all, t.problems)
	for _, name := range cells {
		delete(all, name)
	}
	maps.Copy(all, problems)
	t.setProblems(all)
}

// setProblems is for who holds mu.
func (t *tracker) setProblems(problems map[string]error) {
	t.problems = problems
	if len(problems) == 0 {
		t.setCondition(v1alpha1.ConditionCellsUsable, true, "Usable", "")
		return
	}
	for name := range problems {
		t.cell(name) // it is told of
	}
	t.setCondition(v1alpha1.ConditionCellsUsable, false, "CellUnusable", (&cellsError{problems: problems}).advice())
}

// waiting says for which routers the run waits now.
func (t *tracker) waiting(now lease.Moment, blocking []routers.Router) {
	if len(blocking) == 0 {
		t.condition(v1alpha1.ConditionRoutersAcknowledged, true, "Acknowledged", "")
		return
	}
	var names []string
	for _, r := range blocking {
		names = append(names, fmt.Sprintf("%s (epoch %d, window %d, %s)", r.Name, r.Epoch, r.Window, r.Seen(now)))
	}
	t.condition(v1alpha1.ConditionRoutersAcknowledged, false, "RouterSilent", "waiting for "+strings.Join(names, ", "))
}
