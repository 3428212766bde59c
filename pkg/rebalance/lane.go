package rebalance

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/migration"
)

const (
	// A unit that failed is tried again after firstRetry, then after twice that, up to lastRetry; each time
	// between half of it and all of it.
	firstRetry = time.Second
	lastRetry  = time.Minute
	// missesToHold is how many units in a row must find a cell unavailable before their pair of cells is
	// held: then one unit at a time tries it.
	missesToHold = 3
)

// task is a unit that has to be moved.
type task struct {
	unit migration.Unit
	// order in which units begin.
	order int
	// stray units are to be undone, not moved.
	stray bool
	// begun units refuse writes, or are half moved. They are finished also while the run is paused.
	begun bool
	// copied units are as they were, but for a copy in the new cell that could not be removed. It is taken back also while the
	// run is paused: should the object be deleted, nobody can make it anew before.
	copied   bool
	attempts int32
	// since when it fails, and when to try again.
	since, due time.Time
	lane       *lane
}

// unfinished says whether there is something to do for the unit also while no others begin.
func (t *task) unfinished() bool { return t.begun || t.copied }

// retry sets when to try again.
func (t *task) retry(now time.Time) {
	t.attempts++
	if t.since.IsZero() {
		t.since = now
	}
	t.due = now.Add(backoff(t.attempts))
	t.unit = t.unit.Stale()
}

func backoff(attempts int32) time.Duration {
	d := firstRetry << min(attempts-1, 10)
	d = min(d, lastRetry)
	return d/2 + rand.N(d/2)
}

// lane is the units between two cells.
type lane struct {
	pair
	// ready units are in order. waiting ones failed, and are a heap by due.
	ready    []*task
	waiting  waiting
	inFlight int
	// misses in a row; while there are many, nothing begins before held.
	misses int32
	held   time.Time
}

// next takes a unit that may begin, nil where there is none. begun narrows it down to those that are
// unfinished.
func (l *lane) next(now time.Time, begun bool) *task {
	if l.holding() && (l.inFlight > 0 || now.Before(l.held)) {
		return nil
	}
	if t := l.again(now, begun); t != nil {
		return t
	}
	if len(l.ready) == 0 || begun && !l.ready[0].begun {
		return nil
	}
	t := l.ready[0]
	l.ready = l.ready[1:]
	return t
}

// peek is what next would take.
func (l *lane) peek(now time.Time, begun bool) *task {
	if l.holding() && (l.inFlight > 0 || now.Before(l.held)) {
		return nil
	}
	for i := 0; i < len(l.waiting) && (begun || i == 0); i++ {
		if t := l.waiting[i]; (t.unfinished() || !begun) && !now.Before(t.due) {
			return t
		}
	}
	if len(l.ready) == 0 || begun && !l.ready[0].begun {
		return nil
	}
	return l.ready[0]
}

// wait puts a unit back that failed.
func (l *lane) wait(t *task) { heap.Push(&l.waiting, t) }

// again takes a unit whose time to be tried again has come.
func (l *lane) again(now time.Time, begun bool) *task {
	if !begun {
		if len(l.waiting) == 0 || now.Before(l.waiting[0].due) {
			return nil
		}
		return heap.Pop(&l.waiting).(*task)
	}
	for i, t := range l.waiting {
		if t.unfinished() && !now.Before(t.due) {
			return heap.Remove(&l.waiting, i).(*task)
		}
	}
	return nil
}

func (l *lane) holding() bool { return l.misses >= missesToHold }

// missed notes that a unit found a cell unavailable.
func (l *lane) missed(now time.Time) {
	l.misses++
	if l.holding() {
		l.held = now.Add(backoff(l.misses - missesToHold + 1))
	}
}

// half says whether a unit that was begun with is left.
func (l *lane) half() bool {
	if len(l.ready) > 0 && l.ready[0].begun {
		return true
	}
	for _, t := range l.waiting {
		if t.begun {
			return true
		}
	}
	return false
}

// rush makes every unit due.
func (l *lane) rush(now time.Time) {
	l.misses = 0
	for _, t := range l.waiting {
		t.due, t.since, t.attempts = now, time.Time{}, 0
	}
	heap.Init(&l.waiting)
}

// wakes is when something may begin that may not now, after now; zero for never. What is due by now and does not begin waits
// for a unit to end, or for somebody's wish, and not for the time. begun narrows it down to units that are unfinished.
func (l *lane) wakes(now time.Time, begun bool) (at time.Time) {
	if l.holding() && l.held.After(now) {
		return l.held
	}
	for _, t := range l.waiting {
		if (t.unfinished() || !begun) && t.due.After(now) && (at.IsZero() || t.due.Before(at)) {
			at = t.due
		}
	}
	return at
}

// waiting is a heap by due.
type waiting []*task

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }

// Push implements heap.Interface.
func (w *waiting) Push(x any) { *w = append(*w, x.(*task)) }

// Pop implements heap.Interface.
func (w *waiting) Pop() any {
	old := *w
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	return last
}
