package federation

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// maxSlot is the highest slot: resource versions have three digits for it.
const maxSlot = 999

// ensureSlot gives a cell its slot in the Ring's status, before any object can be written to it through
// a router. The same control plane under the same name keeps the slot that it has, unless it was given up.
func (c *connection) ensureSlot(ctx context.Context, cell, controlPlane string) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		ring, err := c.ring(ctx)
		if err != nil {
			return err
		}
		slot, err := nextSlot(ring.Status.Slots, cell, controlPlane)
		if err != nil || slot == 0 {
			return err
		}
		ring.Status.Slots = append(ring.Status.Slots, v1alpha1.RingSlot{Slot: slot, Cell: cell, ControlPlane: controlPlane})
		_, err = c.cell.Rings().UpdateStatus(ctx, ring, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		return err
	})
	return passOn("give cell "+cell+" a slot in ring "+v1alpha1.RingName, err)
}

// nextSlot returns the slot to add, 0 where the cell has one already. Of two slots of one name the
// higher counts, so a control plane that comes back under a name which another had needs a new one.
func nextSlot(slots []v1alpha1.RingSlot, cell, controlPlane string) (int32, error) {
	var highest int32
	for i := range slots {
		highest = max(highest, slots[i].Slot)
	}
	if holds(lastSlot(slots, cell), controlPlane) {
		return 0, nil
	}
	if highest >= maxSlot {
		return 0, exit.Refusedf("the federation has had %d cells, and resource versions have no room for another", maxSlot).
			WithHint("kubectl cell get cells   # give a new cell the name and the control plane of one that left")
	}
	return highest + 1, nil
}

// lastSlot is the one that counts of those of a name, nil where it has none.
func lastSlot(slots []v1alpha1.RingSlot, cell string) *v1alpha1.RingSlot {
	var last *v1alpha1.RingSlot
	for i := range slots {
		if slots[i].Cell == cell && (last == nil || slots[i].Slot > last.Slot) {
			last = &slots[i]
		}
	}
	return last
}

// holds says whether a slot, which may be nil, is a control plane's, and stays so.
func holds(slot *v1alpha1.RingSlot, controlPlane string) bool {
	return slot != nil && slot.ControlPlane == controlPlane && !slot.GivenUp
}
