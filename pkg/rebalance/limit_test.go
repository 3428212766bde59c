package rebalance_test

import (
	"fmt"
	"strings"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// plan are the units that would move now.
func (b *bed) plan(limit *v1alpha1.RebalanceLimit) []migration.Unit {
	b.t.Helper()
	started, err := rebalance.Start(b.t.Context(), b.rcp, rebalance.StartOptions{
		Spec: v1alpha1.RebalanceSpec{Window: 1, Limit: limit}, Plan: true, DryRun: true,
	})
	b.must(err)
	return started.Units
}

// label gives the objects of units a label.
func (b *bed) label(units []migration.Unit, label, value string) {
	b.t.Helper()
	for _, unit := range units {
		_, err := b.cells[unit.From].CoreV1().ConfigMaps(b.namespace).Patch(b.t.Context(), unit.Objects[0].Name, types.MergePatchType,
			fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, label, value), metav1.PatchOptions{})
		b.must(err)
	}
}

func (b *bed) awaitRest(name string, moved int64) {
	b.t.Helper()
	b.await("the run to rest", func() bool {
		run := b.rebalance(name)
		return rebalance.LimitReached(&run.Status) && run.Status.Phase == v1alpha1.RebalancePaused && b.moved(name).Moved == moved
	})
	if ring := b.ring(); ring.Status.Phase != v1alpha1.RingRebalancing {
		b.t.Errorf("the ring of a run that rests is %s; want Rebalancing", ring.Status.Phase)
	}
}

// TestALimitedRunRestsBetweenItsParts moves one part after the other, changes drivers while it rests, and then
// moves all that is left.
func TestALimitedRunRestsBetweenItsParts(t *testing.T) {
	b, before := growing(t, 60)
	units := b.plan(nil)
	b.label(units[3:6], "part", "first")
	b.label(units[8:10], "part", "second")
	first := v1alpha1.RebalanceLimit{Selector: "part=first", Namespaces: []string{b.namespace}}
	started := b.accepted(v1alpha1.RebalanceSpec{Limit: &first})
	if len(started.Units) != 3 || started.Others != len(units)-3 {
		t.Fatalf("the plan has %d units and %d others; want 3 of %d", len(started.Units), started.Others, len(units))
	}
	name := started.Run.Name
	one := b.driver("one")
	one.Step = func(at rebalance.StepName) {
		if at == rebalance.Rested {
			if run := b.rebalance(name); run.Status.Phase != v1alpha1.RebalancePaused || !rebalance.LimitReached(&run.Status) {
				t.Errorf("the run rests, and its record says %s", run.Status.Phase)
			}
			one.kill()
		}
	}
	b.start(one, name)
	<-one.dead.Done()
	b.forgetLease()
	two := b.driver("two")
	b.start(two, name)
	b.awaitRest(name, 3)
	b.awaitEvents(name, "Normal Rebalance LimitReached")
	told := map[string]bool{}
	for _, e := range one.events.of(rebalance.EventMoved) {
		told[e.Unit.Key] = true
	}
	for _, unit := range units[3:6] {
		if !told[unit.Key] || len(told) != 3 {
			t.Errorf("%v have moved; want those of %s", told, rebalance.DescribeLimit(&first))
		}
	}
	// What waits can be written.
	cm, err := b.router.CoreV1().ConfigMaps(b.namespace).Get(t.Context(), units[20].Objects[0].Name, metav1.GetOptions{})
	b.must(err)
	cm.Annotations = map[string]string{"written": "yes"}
	_, err = b.router.CoreV1().ConfigMaps(b.namespace).Update(t.Context(), cm, metav1.UpdateOptions{})
	b.must(err)

	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{Limit: &v1alpha1.RebalanceLimit{Selector: "part=second"}}))
	b.awaitRest(name, 5)
	if c := apimeta.FindStatusCondition(b.rebalance(name).Status.Conditions, v1alpha1.ConditionUnlimited); !strings.Contains(c.Message, fmt.Sprintf("all units of -l part=second have moved; %d others wait", len(units)-5)) {
		t.Errorf("the condition says %q", c.Message)
	}
	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}))
	run := b.finish(two, v1alpha1.RebalanceSucceeded)
	if run.Spec.Limit != nil || !apimeta.IsStatusConditionTrue(run.Status.Conditions, v1alpha1.ConditionUnlimited) {
		t.Errorf("in the end the limit is %+v, conditions %+v", run.Spec.Limit, run.Status.Conditions)
	}
	if p := rebalance.ProgressOf(&run.Status); p.Moved != int64(len(units)) {
		t.Errorf("%d units moved; want %d", p.Moved, len(units))
	}
	b.settled(before)
}

// TestALimitThatIsChangedHoldsFromTheNextUnitOn narrows a run while it goes on, and aborts it while it rests.
func TestALimitThatIsChangedHoldsFromTheNextUnitOn(t *testing.T) {
	b, before := growing(t, 40)
	units := b.plan(nil)
	last := units[len(units)-1]
	b.label([]migration.Unit{last}, "part", "last")
	name := b.accepted(v1alpha1.RebalanceSpec{Window: 1, Step: 2}).Run.Name
	d := b.driver("it")
	b.start(d, name)
	b.awaitPaused(name)
	b.must(rebalance.Adjust(t.Context(), b.client, name, rebalance.Adjustment{Limit: &v1alpha1.RebalanceLimit{Selector: "part=last"}}))
	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}))
	b.awaitRest(name, 3)
	if moved := d.events.of(rebalance.EventMoved); moved[len(moved)-1].Unit.Key != last.Key {
		t.Errorf("the last unit that moved is %s; want %s", moved[len(moved)-1].Unit.Key, last.Key)
	}
	b.must(rebalance.Abort(t.Context(), b.client, name))
	b.finish(d, v1alpha1.RebalanceAborted)
	for name, moved := range b.settled(before) {
		if moved {
			t.Errorf("%s is not where it was", name)
		}
	}
}

func TestALimitThatChoosesNothingIsRefused(t *testing.T) {
	b, _ := growing(t, few)
	start := func(limit v1alpha1.RebalanceLimit) error {
		_, err := rebalance.Start(t.Context(), b.rcp, rebalance.StartOptions{Spec: v1alpha1.RebalanceSpec{Window: 1, Limit: &limit}})
		return err
	}
	wantRefusal(t, start(v1alpha1.RebalanceLimit{Namespaces: []string{"elsewhere"}}), "none of the ")
	wantRefusal(t, start(v1alpha1.RebalanceLimit{Selector: "a ! b"}), `selector "a ! b"`)
	wantRefusal(t, start(v1alpha1.RebalanceLimit{}), "the limit names no namespaces and no labels")
	run := &v1alpha1.Rebalance{ObjectMeta: metav1.ObjectMeta{Name: "r-bad"}, Spec: v1alpha1.RebalanceSpec{Window: 1, Limit: &v1alpha1.RebalanceLimit{}}}
	if _, err := b.client.Rebalances().Create(t.Context(), run, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "chooses nothing") {
		t.Errorf("the API says %v of a limit that chooses nothing", err)
	}
}
