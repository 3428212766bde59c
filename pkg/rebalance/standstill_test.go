package rebalance_test

import (
	"sync/atomic"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
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
