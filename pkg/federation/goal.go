package federation

import (
	"context"
	"encoding/json"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// goal is what an addition is to end in.
type goal int

const (
	// toJoin: the cell is a member of the wanted ring.
	toJoin goal = iota
	// toRenew: there was such a Cell, whose addition had ended. Whether it is a member is not changed.
	toRenew
	// toReturn: the cell was failed over, and its failback makes it a member.
	toReturn
)

// goalOf is what the addition of a cell is to end in as things are.
func (c *connection) goalOf(ctx context.Context, cell NewCell) (goal, error) {
	ring, err := c.ring(ctx)
	if err != nil {
		return toJoin, err
	}
	if slices.Contains(ring.Status.Unavailable, cell.Name) {
		return toReturn, mayBeRenewed(ring, cell)
	}
	stored, err := c.cell.Cells().Get(ctx, cell.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return toJoin, nil
	case err != nil:
		return toJoin, passOn("read cell "+cell.Name, err)
	case cell.Weight != 0, stored.Annotations[AnnotationJoining] != "", !slotted(ring, stored):
		return toJoin, nil
	}
	return toRenew, nil
}

// slotted says whether a Cell's control plane has the slot that it gets once the Cell is stored, and keeps when the cell is
// drained. Before that an addition was cut off, also by a version that did not mark it, or somebody has made the Cell by
// hand. Credentials tell nothing: those of a drained cell may be lost.
func slotted(ring *v1alpha1.Ring, cell *v1alpha1.Cell) bool {
	plane := cell.Annotations[AnnotationControlPlane]
	return plane != "" && holds(lastSlot(ring.Status.Slots, cell.Name), plane)
}

// mayBeRenewed refuses what is not to be said of a cell that was failed over.
func mayBeRenewed(ring *v1alpha1.Ring, cell NewCell) error {
	switch {
	case checkOutside(ring, cell.Name) != nil, slices.Contains(ring.Status.Promoting, cell.Name):
		return exit.Refusedf("cell %s is being failed over", cell.Name).
			WithHint("kubectl cell failover %s   # goes on with it", cell.Name)
	case cell.Weight != 0:
		return exit.Refusedf("cell %s was failed over, and comes back with the weight that it had", cell.Name).
			WithHint("kubectl cell failback %s ; kubectl cell weight %s %d", cell.Name, cell.Name, cell.Weight)
	}
	return nil
}

// edit is what becomes of the wanted ring.
func (g goal) edit(cell NewCell) edit {
	return func(ring *v1alpha1.Ring) (bool, error) {
		if g != toJoin {
			return false, nil
		}
		i := memberIndex(ring.Spec.Members, cell.Name)
		if i >= 0 && cell.Weight != 0 && ring.Spec.Members[i].Weight != cell.Weight {
			return false, exit.Refusedf("cell %s is wanted with weight %d already", cell.Name, ring.Spec.Members[i].Weight).
				WithHint("kubectl cell weight %s %d", cell.Name, cell.Weight)
		}
		return join(ring, cell.Name, cell.weight()), nil
	}
}

// mark has a Cell say that it is about to join, and returns it.
func (g goal) mark(cell *v1alpha1.Cell) *v1alpha1.Cell {
	if g == toJoin {
		if cell.Annotations == nil {
			cell.Annotations = map[string]string{}
		}
		cell.Annotations[AnnotationJoining] = "true"
	}
	return cell
}

// joined takes off that a cell is about to join.
func (c *connection) joined(ctx context.Context, name string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{AnnotationJoining: nil}}})
	if err != nil {
		return err
	}
	_, err = c.cell.Cells().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return passOn("update cell "+name, err)
}
