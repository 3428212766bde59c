package rebalance

import (
	"math"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

func TestALaneHoldsAfterMisses(t *testing.T) {
	now := time.Unix(1000, 0)
	l := &lane{}
	for n := range 5 {
		l.ready = append(l.ready, &task{order: n, begun: n == 0})
	}
	if got := l.next(now, true); got == nil || got.order != 0 {
		t.Fatalf("first is %+v; want the one that was begun", got)
	}
	if got := l.next(now, true); got != nil {
		t.Errorf("%+v begins in a pause", got)
	}
	for range missesToHold {
		l.missed(now)
	}
	if l.next(now, false) != nil {
		t.Error("a unit begins while the lane is held")
	}
	later := now.Add(lastRetry)
	probe := l.next(later, false)
	l.inFlight++
	if probe == nil || l.next(later, false) != nil {
		t.Error("want one unit at a time to try a lane that is held")
	}
	l.inFlight--
	probe.begun = true
	probe.retry(later)
	l.wait(probe)
	l.rush(later)
	if got := l.next(later, true); got != probe {
		t.Errorf("%+v; want the unit that is half moved", got)
	}
}

// TestAUnitIsTriedAgainEverMoreSeldom: twice as long from one time to the next, up to a minute, and each time at least half of
// that.
func TestAUnitIsTriedAgainEverMoreSeldom(t *testing.T) {
	now := time.Unix(1000, 0)
	for attempts, most := range map[int32]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 6: 32 * time.Second,
		7: time.Minute, 12: time.Minute, 100: time.Minute, math.MaxInt32: time.Minute,
	} {
		for range 100 {
			unit := &task{attempts: attempts - 1}
			unit.retry(now)
			if wait := unit.due.Sub(now); wait < most/2 || wait > most || unit.attempts != attempts {
				t.Fatalf("after attempt %d the unit waits for %s; want %s to %s", unit.attempts, wait, most/2, most)
			}
		}
	}
}

// TestAUnitThatWaitsTooLongHasFailed after ten minutes, and anew once all was forgiven. What does not pass by itself has at once.
func TestAUnitThatWaitsTooLongHasFailed(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		outcome migration.Outcome
		after   time.Duration // the first failure
		forgive bool          // before
		failed  int64
	}{
		{migration.Unavailable, 0, false, 0},
		{migration.Unavailable, 10*time.Minute - time.Second, false, 0},
		{migration.Unavailable, 10 * time.Minute, false, 1},
		{migration.Unavailable, 10 * time.Minute, true, 0},
		{migration.Deferred, 10*time.Minute - time.Second, false, 0},
		{migration.Deferred, 10 * time.Minute, false, 1},
		{migration.Refused, 0, false, 1},
		{migration.Exists, 0, false, 1},
	} {
		p := &pass{run: &run{Driver: &Driver{Patience: defaultPatience}, tracker: newTracker(&v1alpha1.RebalanceProgress{}, "it")}}
		unit := &task{unit: migration.Unit{Key: "ns/x", From: "a", To: "b"}, lane: &lane{pair: pair{"a", "b"}}}
		fail := func(at time.Time) { p.take(outcome{task: unit, result: migration.Result{Outcome: c.outcome}}, at) }
		fail(start)
		if c.forgive {
			p.tracker.forgive()
			unit.lane.rush(start)
		}
		fail(start.Add(c.after))
		if failed := p.tracker.failed(); failed != c.failed {
			t.Errorf("%s for %s, forgiven %v: %d units have failed; want %d", c.outcome, c.after, c.forgive, failed, c.failed)
		}
	}
}
