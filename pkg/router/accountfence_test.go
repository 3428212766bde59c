package router_test

import (
	"context"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// TestTheLedgerForgetsNothingOfAFailedOverCell: a daemon that has not seen the fence may publish another mark, when the failover
// has read the last one. It counts if the fence is taken back.
func TestTheLedgerForgetsNothingOfAFailedOverCell(t *testing.T) {
	b, admin := newAccountedBed(t)
	b.unmark(t)
	ns := b.namespace(t, "accounts-fenced")
	b.oneOfEach(t, ns)
	before := remembered(t, admin, "cell-1", ns)
	fenced := b.editRing(t, func(s *v1alpha1.RingStatus) {
		s.Epoch++
		s.Unavailable = []string{"cell-1"}
	})
	t.Cleanup(func() { // for tests after this one nothing has ever moved
		b.editRing(t, func(s *v1alpha1.RingStatus) { s.Epoch, s.Unavailable = fenced.Status.Epoch-1, nil })
	})
	b.awaitAcknowledged(t, fenced, 1)
	known := b.snapshot(t).ControlPlanes
	b.publish(t.Context(), t, "cell-1", known["cell-1"], "configmaps", "9999999")
	b.publish(t.Context(), t, "cell-2", known["cell-2"], "configmaps", "9999999")
	until(t, "the later mark is read", func(context.Context) bool { return remembered(t, admin, "cell-2", ns) == 0 })
	if now := remembered(t, admin, "cell-1", ns); before == 0 || now != before {
		t.Errorf("the ledger of cell-1 has %d of %d writes after the fence", now, before)
	}
	b.unavailable(t)
	until(t, "it is forgotten once the cell is used again", func(context.Context) bool { return remembered(t, admin, "cell-1", ns) == 0 })
}
