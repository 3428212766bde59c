package rebalance_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// setStatus changes what the Ring says of a failover, in a new epoch.
func (b *bed) setStatus(change func(s *v1alpha1.RingStatus)) {
	b.must(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		ring := b.ring()
		change(&ring.Status)
		ring.Status.Epoch++
		_, err := b.client.Rings().UpdateStatus(b.t.Context(), ring, metav1.UpdateOptions{})
		return err
	}))
}

// TestARunStandsStillDuringAFailover, from before it begins and from the middle of it, and goes on afterwards.
func TestARunStandsStillDuringAFailover(t *testing.T) {
	for name, middle := range map[string]bool{"before it begins": false, "in the middle": true} {
		t.Run(name, func(t *testing.T) {
			b, before := growing(t, 40)
			run := b.accepted(v1alpha1.RebalanceSpec{Window: 2}).Run.Name
			failover := func() { b.setStatus(func(s *v1alpha1.RingStatus) { s.Failover = "fo-1" }) }
			d := b.driver("it")
			if middle {
				var once atomic.Bool
				d.UnitStep = func(s migration.Step) {
					if s.Name == migration.Marked && once.CompareAndSwap(false, true) {
						failover()
					}
				}
			} else {
				failover()
			}
			b.start(d, run)
			b.await("the run stands still", func() bool {
				c := apimeta.FindStatusCondition(b.rebalance(run).Status.Conditions, v1alpha1.ConditionCellsUsable)
				return c != nil && c.Status == metav1.ConditionFalse && c.Reason == "Failover"
			})
			b.setStatus(func(s *v1alpha1.RingStatus) { s.Failover, s.Promoting = "", []string{"cell-9"} })
			b.await("the run stands still while copies are promoted", func() bool {
				c := apimeta.FindStatusCondition(b.rebalance(run).Status.Conditions, v1alpha1.ConditionCellsUsable)
				return c != nil && c.Message == "a failover runs: copies of cell-9 are being promoted; the rebalance goes on after it"
			})
			b.setStatus(func(s *v1alpha1.RingStatus) { s.Promoting = nil })
			ended := b.finish(d, v1alpha1.RebalanceSucceeded)
			if !apimeta.IsStatusConditionTrue(ended.Status.Conditions, v1alpha1.ConditionCellsUsable) {
				t.Errorf("conditions in the end: %+v", ended.Status.Conditions)
			}
			b.settled(before)
		})
	}
}

// TestWhatWasMarkedForACellThatIsFailedOverIsOpened, and the run ends: a driver is killed, and the cell that joins dies before
// the next one has looked.
func TestWhatWasMarkedForACellThatIsFailedOverIsOpened(t *testing.T) {
	for _, step := range []migration.StepName{migration.Marked, migration.Flipped} {
		for _, want := range []v1alpha1.RebalancePhase{v1alpha1.RebalanceSucceeded, v1alpha1.RebalanceAborted} {
			t.Run(fmt.Sprint(step, " and ", want), func(t *testing.T) {
				b := newBed(t, member(1, 100), member(2, 100))
				before := b.fill(few)
				b.want(member(1, 100), member(2, 100), member(3, 100))
				run := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
				b.killAt(run, string(step))
				b.forgetLease()
				touched := b.touched()
				if len(touched) == 0 {
					t.Fatal("nothing was begun to be moved")
				}

				d := b.driver("second")
				var down atomic.Bool
				down.Store(true)
				d.WrapCell = breakable(d.WrapCell, "cell-3", &down)
				b.start(d, run)
				b.await("the run waits for the cell", func() bool {
					c := apimeta.FindStatusCondition(b.rebalance(run).Status.Conditions, v1alpha1.ConditionCellsUsable)
					return c != nil && c.Status == metav1.ConditionFalse && strings.Contains(c.Message, "cell cell-3")
				})
				if want == v1alpha1.RebalanceAborted {
					b.must(rebalance.Abort(t.Context(), b.client, run))
				}
				b.want(member(1, 100), member(2, 100))
				b.setStatus(func(s *v1alpha1.RingStatus) {
					for _, layout := range []*v1alpha1.RingLayout{s.Current, s.Target} {
						layout.Members = slices.DeleteFunc(layout.Members, func(m v1alpha1.RingMember) bool { return m.Cell == "cell-3" })
					}
					s.Unavailable = []string{"cell-3"}
				})
				b.finish(d, want)
				if closed := b.closed(); len(closed) > 0 {
					t.Errorf("%v refuse writes", closed)
				}
				for name, tomb := range touched {
					if delete(before, name); tomb {
						continue
					}
					_, err := b.router.CoreV1().ConfigMaps(b.namespace).Patch(t.Context(), name, types.MergePatchType, []byte(`{"data":{"written":"yes"}}`), metav1.PatchOptions{})
					if err != nil {
						t.Errorf("write %s: %v", name, err)
					}
				}
				b.settled(before)
			})
		}
	}
}

// touched are the objects that a driver has begun to move, and whether they are tombstones.
func (b *bed) touched() map[string]bool {
	b.t.Helper()
	out := map[string]bool{}
	for name, cells := range b.copies() {
		for _, cm := range cells {
			switch v1alpha1.RebalanceStatus(cm.Labels[v1alpha1.LabelRebalanceStatus]) {
			case v1alpha1.Migrated:
				out[name] = true
			case v1alpha1.Migrating:
				out[name] = false
			}
		}
	}
	return out
}
