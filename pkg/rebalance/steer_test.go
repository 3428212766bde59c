package rebalance_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// silentRouter registers a router that acknowledges nothing.
func (b *bed) silentRouter() (forget func()) {
	b.t.Helper()
	leases := b.kube.CoordinationV1().Leases(v1alpha1.Namespace)
	_, err := leases.Create(b.t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Name: "router-silent", Labels: map[string]string{v1alpha1.LabelComponent: "router"},
		Annotations: map[string]string{v1alpha1.AnnotationEpoch: "1"},
	}}, metav1.CreateOptions{})
	b.must(err)
	forget = func() { _ = leases.Delete(context.Background(), "router-silent", metav1.DeleteOptions{}) }
	b.t.Cleanup(forget)
	return forget
}

// growing is a run that has 1 and 2 joined by 3, of which some of the objects move.
func growing(t *testing.T, objects int) (*bed, map[string]placed) {
	b := newBed(t, member(1, 100), member(2, 100))
	before := b.fill(objects)
	b.want(member(1, 100), member(3, 100))
	return b, before
}

func TestASilentRouterBlocksByNameUntilItIsForgotten(t *testing.T) {
	b, before := growing(t, few)
	forget := b.silentRouter()
	name := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	d := b.driver("it")
	b.start(d, name)
	b.await("the condition", func() bool {
		c := apimeta.FindStatusCondition(b.rebalance(name).Status.Conditions, v1alpha1.ConditionRoutersAcknowledged)
		return c != nil && c.Status == metav1.ConditionFalse && strings.Contains(c.Message, "router-silent (epoch 1")
	})
	if phase := b.ring().Status.Phase; phase != v1alpha1.RingPreparing {
		t.Errorf("the ring is %s; want Preparing", phase)
	}
	b.awaitEvents(name, "Warning Rebalance RouterSilent")
	forget()
	run := b.finish(d, v1alpha1.RebalanceSucceeded)
	if !apimeta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.ConditionRoutersAcknowledged) {
		t.Errorf("conditions in the end: %+v", run.Status.Conditions)
	}
	b.settled(before)
}

func TestAbort(t *testing.T) {
	for name, when := range map[string]func(*bed, *driving, func()){
		"pending": func(_ *bed, _ *driving, abort func()) { abort() },
		"preparing": func(b *bed, d *driving, abort func()) {
			forget := b.silentRouter()
			var once atomic.Bool
			d.Step = func(s rebalance.StepName) {
				if s == rebalance.PreparingWritten && once.CompareAndSwap(false, true) {
					abort()
					time.AfterFunc(time.Second, forget)
				}
			}
		},
		"between units": func(_ *bed, d *driving, abort func()) {
			var n atomic.Int32
			d.UnitStep = func(s migration.Step) {
				if s.Name == migration.Revealed && n.Add(1) == 5 {
					abort()
				}
			}
		},
		"settling": func(_ *bed, d *driving, abort func()) {
			var once atomic.Bool
			d.Step = func(s rebalance.StepName) {
				if s == rebalance.SettlingWritten && once.CompareAndSwap(false, true) {
					abort()
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, before := growing(t, 30)
			current := b.ring().Status.Current
			run := b.accepted(v1alpha1.RebalanceSpec{Window: 3}).Run.Name
			d := b.driver("it")
			when(b, d, func() { b.must(rebalance.Abort(context.Background(), b.client, run)) })
			b.start(d, run)
			b.finish(d, v1alpha1.RebalanceAborted)
			ring := b.ring()
			if len(ring.Status.Current.Members) != 2 || ring.Status.Current.Members[1] != current.Members[1] || ring.Status.Target != nil {
				t.Errorf("the ring is %+v, target %v; want it as it was", ring.Status.Current, ring.Status.Target)
			}
			for name, moved := range b.settled(before) {
				if moved {
					t.Errorf("%s is not where it was", name)
				}
			}
			if err := rebalance.Abort(t.Context(), b.client, run); err == nil || !strings.Contains(err.Error(), "has ended") {
				t.Errorf("abort of an ended run: %v", err)
			}
		})
	}
}

// TestAnAbortedRunLeavesAllAsItWas where a cell joins, and where one leaves, in the middle of Rebalancing.
func TestAnAbortedRunLeavesAllAsItWas(t *testing.T) {
	for name, c := range map[string]struct{ before, after []v1alpha1.RingMember }{
		"join":  {[]v1alpha1.RingMember{member(1, 100), member(2, 100)}, []v1alpha1.RingMember{member(1, 100), member(2, 100), member(3, 100)}},
		"leave": {[]v1alpha1.RingMember{member(1, 100), member(2, 100), member(3, 100)}, []v1alpha1.RingMember{member(1, 100), member(2, 100)}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, c.before...)
			before := b.fill(60)
			ring, data, all := b.ring().Status, b.data(), b.versions()
			b.want(c.after...)
			started := b.accepted(v1alpha1.RebalanceSpec{Window: 3, Step: 2})
			d := b.driver("it")
			var mu sync.Mutex
			touched := map[string]bool{}
			d.UnitStep = func(s migration.Step) {
				mu.Lock()
				defer mu.Unlock()
				touched[s.Unit.Key] = true
			}
			b.start(d, started.Run.Name)
			b.awaitPaused(started.Run.Name)
			if p := b.moved(started.Run.Name); p.Moved != 6 || p.Total <= 6 || b.ring().Status.Phase != v1alpha1.RingRebalancing {
				t.Fatalf("the run is aborted with %+v, the ring %s; want it in the middle", p, b.ring().Status.Phase)
			}
			b.must(rebalance.Abort(t.Context(), b.client, started.Run.Name))
			b.finish(d, v1alpha1.RebalanceAborted)
			now := b.ring().Status
			if diff := cmp.Diff(ring.Current, now.Current); diff != "" || now.Target != nil || now.Phase != v1alpha1.RingStable {
				t.Errorf("the ring is %s, target %v, current (-before +now):\n%s", now.Phase, now.Target, diff)
			}
			for name, moved := range b.settled(before) {
				if moved {
					t.Errorf("%s is not where it was", name)
				}
			}
			if diff := cmp.Diff(data, b.data()); diff != "" {
				t.Errorf("data (-before +now):\n%s", diff)
			}
			b.onlyWritten(all, touched)
			if len(touched) != 6 {
				t.Errorf("%d units were touched; want the 6 that had moved", len(touched))
			}
		})
	}
}

// data is that of the objects that count, by cell and name.
func (b *bed) data() map[string]map[string]string {
	b.t.Helper()
	out := map[string]map[string]string{}
	for name, cells := range b.copies() {
		for cell, cm := range cells {
			if cm.Labels[v1alpha1.LabelRebalanceStatus] == "" {
				out[cell+" "+name] = cm.Data
			}
		}
	}
	return out
}

// counts sums the units that have moved.
func (b *bed) moved(name string) rebalance.Progress {
	b.t.Helper()
	return rebalance.ProgressOf(&b.rebalance(name).Status)
}

func (b *bed) awaitPaused(name string) {
	b.t.Helper()
	b.await("the pause", func() bool { return b.rebalance(name).Status.Phase == v1alpha1.RebalancePaused })
}

func TestStepPauseAndResume(t *testing.T) {
	b, before := growing(t, 60)
	started := b.accepted(v1alpha1.RebalanceSpec{Window: 4, Step: 2})
	name := started.Run.Name
	d := b.driver("it")
	b.start(d, name)
	b.awaitPaused(name)
	if p := b.moved(name); p.Moved != 8 || p.InFlight != 0 {
		t.Errorf("after two windows of 4: %+v", p)
	}
	b.must(rebalance.Step(t.Context(), b.client, name, 1))
	b.await("the next window", func() bool { return b.moved(name).Moved == 12 })
	b.awaitPaused(name)
	for copies, cells := range b.copies() {
		for cell, cm := range cells {
			if s := cm.Labels[v1alpha1.LabelRebalanceStatus]; s != "" && s != string(v1alpha1.Migrated) {
				t.Errorf("%s in %s is %s while the run is paused", copies, cell, s)
			}
		}
	}
	// What has not been marked is writable while the run is paused.
	cm, err := b.router.CoreV1().ConfigMaps(b.namespace).Get(t.Context(), strings.TrimPrefix(started.Units[20].Key, b.namespace+"/"), metav1.GetOptions{})
	b.must(err)
	cm.Annotations = map[string]string{"written": "yes"}
	_, err = b.router.CoreV1().ConfigMaps(b.namespace).Update(t.Context(), cm, metav1.UpdateOptions{})
	b.must(err)
	window := int32(30)
	b.must(rebalance.Adjust(t.Context(), b.client, name, rebalance.Adjustment{Window: &window}))
	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}))
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}

// TestAWindowOutOfBoundsIsRefusedMidRun by the API, to whoever writes it without the command, and by Adjust: the run stays
// as it is, and goes on.
func TestAWindowOutOfBoundsIsRefusedMidRun(t *testing.T) {
	b, before := growing(t, 30)
	name := b.accepted(v1alpha1.RebalanceSpec{Window: 4, Step: 1}).Run.Name
	d := b.driver("it")
	b.start(d, name)
	b.awaitPaused(name)
	patch := func(window int32) error {
		_, err := b.client.Rebalances().Patch(t.Context(), name, types.MergePatchType,
			fmt.Appendf(nil, `{"spec":{"window":%d}}`, window), metav1.PatchOptions{})
		return err
	}
	accepted := b.rebalance(name)
	for _, window := range []int32{0, -1, 10_001, 1_000_000_000} {
		if err := patch(window); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "window must be 1 to 10000 units") {
			t.Errorf("the API says %v of a window of %d; want it to be invalid", err, window)
		}
		wantRefusal(t, rebalance.Adjust(t.Context(), b.client, name, rebalance.Adjustment{Window: &window}),
			fmt.Sprintf("window is %d; it must be 1 to 10000 units", window))
		if now := b.rebalance(name); now.Generation != accepted.Generation || now.Status.Window != accepted.Status.Window {
			t.Errorf("a window of %d changes the run: %s", window, cmp.Diff(accepted.Spec, now.Spec))
		}
	}
	for _, window := range []int32{1, 10_000} {
		b.must(patch(window))
	}
	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}))
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}

func TestARingEditedMidRunWaitsForTheNext(t *testing.T) {
	b, before := growing(t, few)
	name := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	d := b.driver("it")
	var once atomic.Bool
	d.UnitStep = func(migration.Step) {
		if once.CompareAndSwap(false, true) {
			b.want(member(2, 100))
		}
	}
	b.start(d, name)
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.settled(before)
	if m := b.ring().Status.Current.Members; len(m) != 2 || m[1].Cell != "cell-3" {
		t.Errorf("the run went to %+v; want what was accepted", m)
	}
	if next := b.accepted(v1alpha1.RebalanceSpec{}); len(next.Units) != few {
		t.Errorf("the next run moves %d units; want all %d", len(next.Units), few)
	}
}

// squat makes an object in the new cell of a unit that has the name of one of its own, so that it cannot move there.
func (b *bed) squat(unit migration.Unit) (leave func()) {
	b.t.Helper()
	squatters := b.cells[unit.To].CoreV1().ConfigMaps(b.namespace)
	squatter, err := b.cells[unit.From].CoreV1().ConfigMaps(b.namespace).Get(b.t.Context(), unit.Objects[0].Name, metav1.GetOptions{})
	b.must(err)
	squatter.ObjectMeta = metav1.ObjectMeta{Name: squatter.Name}
	_, err = squatters.Create(b.t.Context(), squatter, metav1.CreateOptions{})
	b.must(err)
	return func() {
		if err := squatters.Delete(b.t.Context(), squatter.Name, metav1.DeleteOptions{}); err != nil {
			b.t.Error(err)
		}
	}
}

func TestTooManyFailuresPauseAndAreForgivenOnResume(t *testing.T) {
	b, before := growing(t, 20)
	started := b.accepted(v1alpha1.RebalanceSpec{MaxFailures: new(int32), Window: 2})
	unit := started.Units[3]
	leave := b.squat(unit)
	d := b.driver("it")
	b.start(d, started.Run.Name)
	b.awaitPaused(started.Run.Name)
	run := b.rebalance(started.Run.Name)
	if f := run.Status.Failures; len(f) != 1 || f[0].Key != unit.Key || f[0].Step != string(migration.Exists) || f[0].Retrying {
		t.Errorf("failures are %+v", f)
	}
	if !run.Spec.Paused || !apimeta.IsStatusConditionFalse(run.Status.Conditions, v1alpha1.ConditionHealthy) {
		t.Errorf("paused is %v, conditions %+v", run.Spec.Paused, run.Status.Conditions)
	}
	b.awaitEvents(run.Name, "Warning Rebalance TooManyFailures", "Warning Rebalance UnitFailed")
	leave()
	b.must(rebalance.Resume(t.Context(), b.client, run.Name, rebalance.ResumeOptions{}))
	run = b.finish(d, v1alpha1.RebalanceSucceeded)
	if len(run.Status.Failures) != 0 || !apimeta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.ConditionHealthy) {
		t.Errorf("in the end: %+v, conditions %+v", run.Status.Failures, run.Status.Conditions)
	}
	b.settled(before)
}

// TestAPausedRunIsTakenOverWithItsFailures which count until it is resumed, even if nobody drives then.
func TestAPausedRunIsTakenOverWithItsFailures(t *testing.T) {
	b, before := growing(t, 20)
	started := b.accepted(v1alpha1.RebalanceSpec{MaxFailures: new(int32(1)), Window: 2})
	name := started.Run.Name
	leaveFirst, leaveSecond := b.squat(started.Units[3]), b.squat(started.Units[4])
	driver := func(identity string) *driving {
		d := b.driver(identity)
		var found atomic.Bool
		d.Step = func(s rebalance.StepName) {
			if s == rebalance.UnitsFound {
				found.Store(true)
			}
		}
		b.start(d, name)
		b.await(identity, func() bool { return found.Load() && b.rebalance(name).Status.Driver == identity })
		return d
	}
	end := func(d *driving) {
		d.kill()
		<-d.result
		b.forgetLease()
	}
	first := driver("first")
	b.awaitPaused(name)
	failed := b.rebalance(name).Status.Failures
	end(first)
	second := driver("second")
	b.awaitPaused(name)
	run := b.rebalance(name)
	if diff := cmp.Diff(failed, run.Status.Failures); diff != "" || len(failed) != 2 || run.Status.FailedUnits != 2 || !run.Spec.Paused {
		t.Errorf("%d units failed (-as the first driver left it +now):\n%s", run.Status.FailedUnits, diff)
	}
	end(second)
	leaveFirst()
	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}))
	third := driver("third")
	b.await("all others to have moved", func() bool {
		p := b.moved(name)
		return p.Total > 0 && p.Moved == p.Total-1 && p.Failed == 1
	})
	if run := b.rebalance(name); run.Spec.Paused {
		t.Errorf("the run has paused, and one unit failed since it was resumed: %+v", run.Status.Failures)
	}
	leaveSecond()
	b.finish(third, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}

func TestOneUnitThatIsRefusedDoesNotHoldUpTheOthers(t *testing.T) {
	b, before := growing(t, few)
	started := b.accepted(v1alpha1.RebalanceSpec{})
	to := started.Units[0].To
	policies := b.refuse(to, started.Units[0].Objects[0].Name)
	d := b.driver("it")
	b.start(d, started.Run.Name)
	b.await("all others to have moved", func() bool {
		p := b.moved(started.Run.Name)
		return p.Moved == p.Total-1 && p.Failed == 1
	})
	if f := b.rebalance(started.Run.Name).Status.Failures; len(f) != 1 || f[0].Step != string(migration.Refused) || !strings.Contains(f[0].Message, "not here") {
		t.Errorf("failures are %+v", f)
	}
	policies()
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}

func TestACellThatIsDownIsWaitedFor(t *testing.T) {
	b, before := growing(t, 30)
	name := b.accepted(v1alpha1.RebalanceSpec{Window: 4}).Run.Name
	d := b.driver("it")
	var down atomic.Bool
	d.WrapCell = breakable(d.WrapCell, "cell-3", &down)
	var n atomic.Int32
	d.UnitStep = func(s migration.Step) {
		if s.Name == migration.Created && n.Add(1) == 5 {
			down.Store(true)
		}
	}
	b.start(d, name)
	b.await("the condition", func() bool {
		run := b.rebalance(name)
		c := apimeta.FindStatusCondition(run.Status.Conditions, v1alpha1.ConditionCellsUsable)
		return c != nil && c.Status == metav1.ConditionFalse && strings.Contains(c.Message, "cell cell-3")
	})
	if run := b.rebalance(name); run.Status.FailedUnits != 0 || run.Spec.Paused {
		t.Errorf("units that wait for a cell count as failed: %+v", run.Status)
	}
	b.awaitEvents(name, "Warning Rebalance CellUnusable", "Warning Cell RebalanceWaits")
	down.Store(false)
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}

func TestASecondDriverWaitsAndTakesOver(t *testing.T) {
	b, before := growing(t, few)
	forget := b.silentRouter()
	name := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	first, second := b.driver("first"), b.driver("second")
	b.start(first, name)
	b.await("the first", func() bool { return b.rebalance(name).Status.Driver == "first" })
	b.start(second, name)
	b.await("the second to say who drives", func() bool {
		e := second.events.of(rebalance.EventDriver)
		return len(e) > 0 && e[0].Driver == "first"
	})
	first.kill()
	forget()
	// Nobody deletes the Lease: it runs out.
	b.finish(second, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}

func TestStartIsRefusedWithAHint(t *testing.T) {
	b := newBed(t, member(1, 100), member(2, 100))
	start := func(spec v1alpha1.RebalanceSpec) (*rebalance.Started, error) {
		return rebalance.Start(t.Context(), b.rcp, rebalance.StartOptions{Spec: spec})
	}
	started, err := start(v1alpha1.RebalanceSpec{Window: 1})
	b.must(err)
	if !started.Nothing || started.Run != nil {
		t.Errorf("nothing to do: %+v", started)
	}
	for _, window := range []int32{0, -1, 1_000_000_000} {
		_, err := start(v1alpha1.RebalanceSpec{Window: window})
		wantRefusal(t, err, "it must be 1 to 10000 units")
	}
	b.want(member(1, 100), v1alpha1.RingMember{Cell: "cell-9", Weight: 100})
	_, err = start(v1alpha1.RebalanceSpec{Window: 1})
	wantRefusal(t, err, "there is no Cell cell-9")
	b.want(member(1, 100), member(3, 100))
	b.maintenance("cell-3", true)
	_, err = start(v1alpha1.RebalanceSpec{Window: 1})
	b.maintenance("cell-3", false)
	wantRefusal(t, err, "cell cell-3 is in maintenance")
	started, err = rebalance.Start(t.Context(), b.rcp, rebalance.StartOptions{Spec: v1alpha1.RebalanceSpec{Window: 1}, DryRun: true})
	b.must(err)
	if started.Run != nil {
		t.Error("a dry run made a run")
	}
	name := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	_, err = start(v1alpha1.RebalanceSpec{Window: 1})
	wantRefusal(t, err, "rebalance "+name+" has not ended: it is Pending")
	if unfinished := (*rebalance.UnfinishedError)(nil); !errors.As(err, &unfinished) || unfinished.Run.Name != name {
		t.Errorf("the error does not carry the run: %v", err)
	}
}

// TestOfTwoRunsThatBeginAtOnceOneIsMade, and the other is refused by its name.
func TestOfTwoRunsThatBeginAtOnceOneIsMade(t *testing.T) {
	b, _ := growing(t, few)
	const many = 8
	runs, refusals := make(chan *v1alpha1.Rebalance, many), make(chan error, many)
	var group sync.WaitGroup
	for range many {
		group.Go(func() {
			if started, err := rebalance.Start(t.Context(), b.rcp, rebalance.StartOptions{Spec: v1alpha1.RebalanceSpec{Window: 1}}); err != nil {
				refusals <- err
			} else {
				runs <- started.Run
			}
		})
	}
	group.Wait()
	if len(runs) != 1 || len(refusals) != many-1 {
		t.Fatalf("%d runs were made, and %d refused; want one made", len(runs), len(refusals))
	}
	run := <-runs
	for range many - 1 {
		err := <-refusals
		wantRefusal(t, err, "rebalance "+run.Name+" has not ended")
		if unfinished := (*rebalance.UnfinishedError)(nil); !errors.As(err, &unfinished) || unfinished.Run.UID != run.UID {
			t.Errorf("the error does not carry the run: %v", err)
		}
	}
}
