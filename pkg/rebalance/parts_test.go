package rebalance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

func TestTransitions(t *testing.T) {
	layout := func(cell string) *v1alpha1.RingLayout {
		return &v1alpha1.RingLayout{Members: []v1alpha1.RingMember{{Cell: cell, Weight: 100}}, PointsPerWeight: 10}
	}
	for name, c := range map[string]struct {
		turnIn v1alpha1.RingPhase
		want   []string
	}{
		"to the end":         {"", []string{"Preparing 8 a→b", "Rebalancing 9 a→b", "Settling 10 a→b", "Stable 11 b"}},
		"abort at first":     {v1alpha1.RingPreparing, []string{"Preparing 8 a→b", "Stable 9 a"}},
		"abort on the way":   {v1alpha1.RingRebalancing, []string{"Preparing 8 a→b", "Rebalancing 9 a→b", "Preparing 10 b→a", "Rebalancing 11 b→a", "Settling 12 b→a", "Stable 13 a"}},
		"abort when settled": {v1alpha1.RingSettling, []string{"Preparing 8 a→b", "Rebalancing 9 a→b", "Settling 10 a→b", "Preparing 11 b→a", "Rebalancing 12 b→a", "Settling 13 b→a", "Stable 14 a"}},
	} {
		ring := &v1alpha1.Ring{}
		ring.Spec.RingLayout = *layout("b")
		ring.Status = v1alpha1.RingStatus{Epoch: 7, Phase: v1alpha1.RingStable, Current: layout("a")}
		accept(ring, "r-8")
		var got []string
		for {
			s := &ring.Status
			line := fmt.Sprintf("%s %d %s", s.Phase, s.Epoch, s.Current.Members[0].Cell)
			if s.Target != nil {
				line += "→" + s.Target.Members[0].Cell
			}
			if got = append(got, line); s.Phase == v1alpha1.RingStable {
				break
			}
			if s.Phase == c.turnIn && !s.Aborting {
				turn(s)
			} else {
				advance(s)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if s := ring.Status; s.Aborting != (c.turnIn != "") || s.Rebalance != "r-8" || s.AcceptedEpoch != 7 {
			t.Errorf("%s: aborting %v of %s, which was accepted in epoch %d", name, s.Aborting, s.Rebalance, s.AcceptedEpoch)
		}
	}
}

func TestABarrierCoversAllWhoCameBeforeItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int32
		b := &barrier{pass: func(context.Context) error {
			passes.Add(1)
			time.Sleep(time.Second)
			return nil
		}}
		var waiting sync.WaitGroup
		for n := range 20 {
			waiting.Go(func() {
				time.Sleep(time.Duration(n) * 10 * time.Millisecond)
				asked := time.Now()
				if err := b.wait(t.Context()); err != nil {
					t.Error(err)
				}
				// A round that was under way does not count.
				if took := time.Since(asked); n > 0 && took <= time.Second {
					t.Errorf("unit %d waited %s", n, took)
				}
			})
		}
		waiting.Wait()
		b.running.Wait()
		if passes.Load() != 2 {
			t.Errorf("%d rounds; want 2", passes.Load())
		}
		b.pass = func(context.Context) error { return errors.New("no") }
		if err := b.wait(t.Context()); err == nil {
			t.Error("a round that failed lets through")
		}
		b.running.Wait()
	})
}

func TestARoundWaitsForAShareOfTheUnitsInFlight(t *testing.T) {
	for name, c := range map[string]struct {
		units, waiting, end int
		want                time.Duration
	}{
		"alone":                       {1, 1, 0, 0},
		"enough of them":              {40, 10, 0, 0},
		"too few of them":             {40, 9, 0, gather},
		"too few until others end":    {40, 9, 4, 0},
		"too few though others end":   {40, 9, 3, gather},
		"a step of units that resume": {0, 1, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := time.Now()
			began := make(chan time.Duration, 1)
			b := &barrier{pass: func(context.Context) error {
				began <- time.Since(asked)
				return nil
			}}
			for range c.units {
				b.enter()
			}
			var waiting sync.WaitGroup
			for range c.waiting {
				waiting.Go(func() {
					if err := b.wait(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			for range c.end {
				b.leave()
			}
			waiting.Wait()
			b.running.Wait()
			if took := <-began; took != c.want || len(began) > 0 {
				t.Errorf("%s: the round began after %s, and %d more; want %s", name, took, len(began), c.want)
			}
		})
	}
}

// TestWhatIsWantedDoesNotGoBack has a watch deliver a state that is older than the one that was read.
func TestWhatIsWantedDoesNotGoBack(t *testing.T) {
	state := func(version string, paused bool) *v1alpha1.Rebalance {
		return &v1alpha1.Rebalance{ObjectMeta: metav1.ObjectMeta{Name: "r-8", ResourceVersion: version}, Spec: v1alpha1.RebalanceSpec{Paused: paused}}
	}
	w, p := newWishes(state("99", false)), &publisher{run: state("99", false)}
	for _, c := range []struct {
		seen   *v1alpha1.Rebalance
		paused bool
		told   bool
	}{
		{state("101", true), true, true},
		{state("100", false), true, false},
		{state("101", true), true, false},
		{state("1000", true), true, false},
		{state("1001", false), false, true},
	} {
		_, changed := w.get()
		w.set(c.seen)
		p.saw(c.seen)
		told := false
		select {
		case <-changed:
			told = true
		default:
		}
		if wish, _ := w.get(); wish.Paused != c.paused || told != c.told || p.run.Spec.Paused != c.paused {
			t.Errorf("after version %s: paused %v, told %v, published for %v; want %v, %v",
				c.seen.ResourceVersion, wish.Paused, told, p.run.Spec.Paused, c.paused, c.told)
		}
	}
}

// ringOf is one that goes from some cells to others.
func ringOf(current, target []string) *v1alpha1.RingStatus {
	layout := func(cells []string) *v1alpha1.RingLayout {
		out := &v1alpha1.RingLayout{}
		for _, cell := range cells {
			out.Members = append(out.Members, v1alpha1.RingMember{Cell: cell, Weight: 100})
		}
		return out
	}
	return &v1alpha1.RingStatus{Phase: v1alpha1.RingRebalancing, Current: layout(current), Target: layout(target)}
}

// TestNothingHasMovedToACellThatHasLeft in a failover: what was to be moved there goes elsewhere.
func TestNothingHasMovedToACellThatHasLeft(t *testing.T) {
	tr := newTracker(&v1alpha1.RebalanceProgress{Pairs: []v1alpha1.PairProgress{
		{From: "a", To: "b", Total: 10, Moved: 3}, {From: "a", To: "c", Total: 5, Moved: 2}, {From: "b", To: "c", Total: 4},
	}}, "it")
	tr.expect(ringOf([]string{"a"}, []string{"a", "c"}), &migration.Found{Units: []migration.Unit{{Key: "x", From: "a", To: "c"}}})
	want := []v1alpha1.PairProgress{{From: "a", To: "c", Total: 5, Moved: 4}}
	if diff := cmp.Diff(want, tr.snapshot(time.Now()).Pairs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestATakeoverKeepsTheTotals(t *testing.T) {
	failure := func(key string) v1alpha1.UnitFailure {
		return v1alpha1.UnitFailure{Key: key, From: "a", To: "b", Step: "Exists", Message: "taken", Attempts: 2}
	}
	before := &v1alpha1.RebalanceProgress{
		Phase:    v1alpha1.RebalancePaused,
		Pairs:    []v1alpha1.PairProgress{{From: "a", To: "b", Total: 10, Moved: 3, InFlight: 2, Failed: 3}},
		Failures: []v1alpha1.UnitFailure{failure("stray"), failure("x")}, FailedUnits: 3, // one is not shown
	}
	tr := newTracker(before, "second")
	told := tr.snapshot(time.Now())
	if diff := cmp.Diff(before.Failures, told.Failures); diff != "" || told.FailedUnits != 3 {
		t.Errorf("%d failed (-want +got):\n%s", told.FailedUnits, diff)
	}
	tr.expect(ringOf([]string{"a"}, []string{"b", "c"}), &migration.Found{
		Units:  []migration.Unit{{Key: "x", From: "a", To: "b"}, {Key: "y", From: "a", To: "b"}, {Key: "z", From: "a", To: "c"}},
		Strays: []migration.Unit{{Key: "stray", From: "a", To: "b"}},
	})
	told = tr.snapshot(time.Now())
	want := []v1alpha1.PairProgress{{From: "a", To: "b", Total: 10, Moved: 8, Failed: 2}, {From: "a", To: "c", Total: 1}}
	if diff := cmp.Diff(want, told.Pairs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(before.Failures, told.Failures); diff != "" || told.FailedUnits != 3 {
		t.Errorf("%d failed, once the units are found (-want +got):\n%s", told.FailedUnits, diff)
	}
	tr.forgive()
	if told = tr.snapshot(time.Now()); len(told.Failures) > 0 || told.FailedUnits != 0 {
		t.Errorf("%d failed, %v; want all of them to be forgiven", told.FailedUnits, told.Failures)
	}
}

// TestATakeoverForgetsFailuresOfWhatIsGone since nobody tries it again.
func TestATakeoverForgetsFailuresOfWhatIsGone(t *testing.T) {
	gone := v1alpha1.UnitFailure{Key: "gone", From: "a", To: "b", Step: "Refused", Message: "not here", Attempts: 1}
	tr := newTracker(&v1alpha1.RebalanceProgress{Phase: v1alpha1.RebalanceMoving, Failures: []v1alpha1.UnitFailure{gone}, FailedUnits: 1}, "second")
	tr.expect(ringOf([]string{"a"}, []string{"b", "c"}), &migration.Found{Units: []migration.Unit{{Key: "x", From: "a", To: "b"}}})
	if told := tr.snapshot(time.Now()); len(told.Failures) > 0 || told.FailedUnits != 0 {
		t.Errorf("%d failed, %v", told.FailedUnits, told.Failures)
	}
}

func TestChangesAreToldOnceAndAsJSON(t *testing.T) {
	run := &v1alpha1.Rebalance{ObjectMeta: metav1.ObjectMeta{Name: "r-8"}, Spec: v1alpha1.RebalanceSpec{Window: 50}}
	tr := newTracker(&run.Status, "it")
	tr.phase(v1alpha1.RebalanceMoving)
	now := time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC)
	tr.waiting(lease.Moment{RCP: now, Local: now.Add(time.Hour)}, []routers.Router{
		{Name: "router-x", Epoch: 6, Renewal: lease.Renewal{Renewed: now.Add(-time.Hour), Stored: now.Add(-3 * time.Second)}},
	})
	p := pair{"a", "b"}
	tr.begun(p)
	tr.ended(p, "ns/x", time.Second, &v1alpha1.UnitFailure{Key: "ns/x", From: "a", To: "b", Step: "Exists", Message: "taken", Attempts: 1}, false)
	after := run.DeepCopy()
	after.Status = tr.snapshot(time.Now())
	var got []string
	for _, e := range Changes(run, after) {
		e.Time = time.Time{}
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(text))
	}
	want := []string{
		`{"seq":0,"ts":"0001-01-01T00:00:00Z","type":"driver","run":"r-8","driver":"it"}`,
		`{"seq":0,"ts":"0001-01-01T00:00:00Z","type":"phase","run":"r-8","phase":"Moving"}`,
		`{"seq":0,"ts":"0001-01-01T00:00:00Z","type":"blocked","run":"r-8","message":"waiting for router-x (epoch 6, window 0, last seen 3s ago)"}`,
		`{"seq":0,"ts":"0001-01-01T00:00:00Z","type":"failed","run":"r-8","unit":{"key":"ns/x","from":"a","to":"b","step":"Exists","attempts":1},"message":"taken"}`,
		`{"seq":0,"ts":"0001-01-01T00:00:00Z","type":"progress","run":"r-8","progress":{"total":0,"moved":0,"inFlight":0,"failed":1,"unitsPerMinute":0,"writeBlock":{"p50":"1s","p99":"1s","max":"1s"},"pairs":[{"from":"a","to":"b","total":0,"moved":0,"inFlight":0,"failed":1}],"cells":[{"cell":"a","writeBlock":{"p50":"1s","p99":"1s","max":"1s"}},{"cell":"b","writeBlock":{"p50":"1s","p99":"1s","max":"1s"}}]}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if again := Changes(after, after.DeepCopy()); len(again) != 0 {
		t.Errorf("told twice: %+v", again)
	}
}

// TestARunThatWasResumedIsNotStopped though nobody drives who would say so in its record.
func TestARunThatWasResumedIsNotStopped(t *testing.T) {
	run := &v1alpha1.Rebalance{Spec: v1alpha1.RebalanceSpec{Paused: true}}
	tr := newTracker(&run.Status, "it")
	tr.condition(v1alpha1.ConditionHealthy, false, "TooManyFailures", "too many")
	run.Status = tr.snapshot(time.Now())
	resumed := run.DeepCopy()
	resumed.Spec.Paused = false
	for name, c := range map[string]struct {
		before, after *v1alpha1.Rebalance
		want          []string
	}{
		"paused":          {nil, run, []string{"too many"}},
		"resumed":         {nil, resumed, nil},
		"when it resumes": {run, resumed, []string{""}},
		"when it pauses":  {resumed, run, []string{"too many"}},
	} {
		var told []string
		for _, e := range Changes(c.before, c.after) {
			if e.Type == EventStopped {
				told = append(told, e.Message)
			}
		}
		if diff := cmp.Diff(c.want, told); diff != "" {
			t.Errorf("%s (-want +told):\n%s", name, diff)
		}
	}
}

func TestSpeedAndTheEndThatItPromises(t *testing.T) {
	start := time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC)
	p := pair{"a", "b"}
	tr := newTracker(&v1alpha1.RebalanceProgress{Pairs: []v1alpha1.PairProgress{{From: "a", To: "b", Total: 120}}}, "it")
	move := func(units int) {
		for range units {
			tr.begun(p)
			tr.ended(p, "ns/x", 0, nil, true)
		}
	}
	for _, c := range []struct {
		after time.Duration // the start
		phase v1alpha1.RebalancePhase
		moves int // since the line before
		speed int64
		left  time.Duration // negative for not known
	}{
		{0, v1alpha1.RebalancePreparing, 0, 0, -1},
		{time.Second, v1alpha1.RebalanceMoving, 0, 0, -1},
		{11 * time.Second, v1alpha1.RebalanceMoving, 20, 120, 50 * time.Second},
		{21 * time.Second, v1alpha1.RebalanceMoving, 0, 60, 100 * time.Second},
		// What was longer ago than speedOver does not count: 60 in the last 30 s.
		{41 * time.Second, v1alpha1.RebalanceMoving, 60, 120, 20 * time.Second},
		{42 * time.Second, v1alpha1.RebalancePaused, 0, 0, -1},
		{50 * time.Second, v1alpha1.RebalanceMoving, 0, 0, -1}, // the pause does not count
		{60 * time.Second, v1alpha1.RebalanceMoving, 10, 60, 30 * time.Second},
		{61 * time.Second, v1alpha1.RebalanceSettling, 0, 0, -1},
		{70 * time.Second, v1alpha1.RebalanceAborting, 0, 0, -1},
		{75 * time.Second, v1alpha1.RebalanceAborting, 10, 120, 10 * time.Second},
	} {
		move(c.moves)
		tr.phase(c.phase)
		now := start.Add(c.after)
		s := tr.snapshot(now)
		left := time.Duration(-1)
		if s.EstimatedCompletionTime != nil {
			left = s.EstimatedCompletionTime.Sub(now)
		}
		if s.UnitsPerMinute != c.speed || left != c.left {
			t.Errorf("after %s: %d units a minute, %s to go; want %d, %s", c.after, s.UnitsPerMinute, left, c.speed, c.left)
		}
	}
}

func TestCheckSpecKnowsTheBoundsOfTheAPI(t *testing.T) {
	hours := func(n float64) *metav1.Duration {
		return &metav1.Duration{Duration: time.Duration(n * float64(time.Hour))}
	}
	for words, c := range map[string]struct{ good, bad []v1alpha1.RebalanceSpec }{
		"it must be 1 to 10000 units": {
			[]v1alpha1.RebalanceSpec{{Window: 1}, {Window: 10_000}},
			[]v1alpha1.RebalanceSpec{{Window: 0}, {Window: 10_001}},
		},
		"it must be 0 (no limit) to 100000 units a second": {
			[]v1alpha1.RebalanceSpec{{Window: 1, Rate: 0}, {Window: 1, Rate: 100_000}},
			[]v1alpha1.RebalanceSpec{{Window: 1, Rate: -1}, {Window: 1, Rate: 100_001}},
		},
		"it must not be negative": {
			[]v1alpha1.RebalanceSpec{{Window: 1, MaxFailures: new(int32(0))}, {Window: 1, MaxFailures: new(int32(math.MaxInt32))}},
			[]v1alpha1.RebalanceSpec{{Window: 1, MaxFailures: new(int32(-1))}},
		},
		"it must be 1 to 10000 windows": {
			[]v1alpha1.RebalanceSpec{{Window: 1, Step: 0}, {Window: 1, Step: 10_000}},
			[]v1alpha1.RebalanceSpec{{Window: 1, Step: -1}, {Window: 1, Step: 10_001}},
		},
		"it must be 0s to 720h": {
			[]v1alpha1.RebalanceSpec{{Window: 1, Grace: hours(0)}, {Window: 1, Grace: hours(720)}},
			[]v1alpha1.RebalanceSpec{{Window: 1, Grace: hours(-1)}, {Window: 1, Grace: hours(720.01)}},
		},
	} {
		for _, spec := range c.good {
			if err := CheckSpec(&spec); err != nil {
				t.Errorf("%+v: %v", spec, err)
			}
		}
		for _, spec := range c.bad {
			if err := CheckSpec(&spec); err == nil || !strings.Contains(err.Error(), words) || exit.CodeOf(err) != exit.Usage {
				t.Errorf("%+v: %v; want %q", spec, err, words)
			}
		}
	}
}

// TestHowLongTombstonesStay by the run that made them, else by the ring, and never less than an hour where nobody knows which
// run that was.
func TestHowLongTombstonesStay(t *testing.T) {
	grace := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	runs := &v1alpha1.RebalanceList{Items: []v1alpha1.Rebalance{
		{ObjectMeta: metav1.ObjectMeta{Name: "own"}, Spec: v1alpha1.RebalanceSpec{Grace: grace(5 * time.Minute)}},
		{ObjectMeta: metav1.ObjectMeta{Name: "none"}, Spec: v1alpha1.RebalanceSpec{Grace: grace(0)}},
		{ObjectMeta: metav1.ObjectMeta{Name: "plain"}},
	}}
	for name, test := range map[string]struct {
		retention           *metav1.Duration
		plain, own, unknown time.Duration
	}{
		"as it is":    {nil, 12 * time.Hour, 5 * time.Minute, 12 * time.Hour},
		"a day":       {grace(24 * time.Hour), 24 * time.Hour, 5 * time.Minute, 24 * time.Hour},
		"ten minutes": {grace(10 * time.Minute), 10 * time.Minute, 5 * time.Minute, time.Hour},
	} {
		ring := &v1alpha1.Ring{Spec: v1alpha1.RingSpec{Retention: test.retention}}
		of := Graces(ring, runs)
		want := map[string]time.Duration{"own": test.own, "none": 0, "plain": test.plain, "nobody's": test.unknown}
		for run, d := range want {
			if got := of(run); got != d {
				t.Errorf("with a retention of %s the tombstones of the run %q stay %s, want %s", name, run, got, d)
			}
		}
	}
}
