package federation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// Options of every operation that changes something.
type Options struct {
	// DryRun does all checks, on the server as well, and writes nothing.
	DryRun bool
}

// RingChange is what became of the wanted ring.
type RingChange struct {
	// Changed is false where the ring was as wanted already.
	Changed bool
	// Before is the Ring as it was read; After is the Ring as it was written, or as a dry run
	// would have written it.
	Before, After *v1alpha1.Ring
}

// edit changes spec in place and says whether it did. It may be called again with a newer spec.
type edit func(ring *v1alpha1.Ring) (changed bool, err error)

// changeRing applies e to the newest Ring. Somebody else's change in between is not lost: e is
// asked again.
func (c *connection) changeRing(ctx context.Context, options Options, e edit) (RingChange, error) {
	var change RingChange
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		ring, err := c.ring(ctx)
		if err != nil {
			return err
		}
		change = RingChange{Before: ring.DeepCopy(), After: ring}
		if change.Changed, err = e(ring); err != nil || !change.Changed {
			return err
		}
		update := metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager}
		if options.DryRun {
			update.DryRun = []string{metav1.DryRunAll}
		}
		change.After, err = c.cell.Rings().Update(ctx, ring, update)
		return err
	})
	if err != nil {
		return RingChange{}, passOn("change ring "+v1alpha1.RingName, err)
	}
	return change, nil
}

// Drain takes a cell out of the wanted ring. Its workloads stay until a rebalance accepts that. The
// last member is refused, a cell that is out already is left so.
func Drain(ctx context.Context, rcp *rest.Config, name string, options Options) (RingChange, error) {
	c, err := connect(rcp)
	if err != nil {
		return RingChange{}, err
	}
	change, err := c.changeRing(ctx, options, func(ring *v1alpha1.Ring) (bool, error) {
		i := memberIndex(ring.Spec.Members, name)
		if i < 0 {
			return false, c.requireCell(ctx, ring, name)
		}
		if len(ring.Spec.Members) == 1 && ring.Status.Epoch > 0 {
			return false, exit.Refusedf("%s is the only cell that is wanted: its workloads would have nowhere to go", name).
				WithHint("kubectl cell add NAME --kubeconfig FILE   # another cell first")
		}
		ring.Spec.Members = slices.Delete(ring.Spec.Members, i, i+1)
		return true, nil
	})
	if err != nil || options.DryRun {
		return change, err
	}
	return change, c.joined(ctx, name) // an addition that was cut off at its very end is not to bring it back
}

// Undrain takes a cell back into the wanted ring, with the weight that it has in the current ring,
// or the default weight where it is not in that.
func Undrain(ctx context.Context, rcp *rest.Config, name string, options Options) (RingChange, error) {
	c, err := connect(rcp)
	if err != nil {
		return RingChange{}, err
	}
	return c.changeRing(ctx, options, func(ring *v1alpha1.Ring) (bool, error) {
		if err := c.usable(ctx, ring, name); err != nil {
			return false, err
		}
		return join(ring, name, ReturnWeight(ring, name)), nil
	})
}

// Return takes a cell that was failed over and is available again back into the wanted ring, with a weight. One that is wanted
// already keeps the weight that it is wanted with.
func Return(ctx context.Context, rcp *rest.Config, name string, weight int32) (RingChange, error) {
	if err := CheckWeight(weight); err != nil {
		return RingChange{}, err
	}
	c, err := connect(rcp)
	if err != nil {
		return RingChange{}, err
	}
	return c.changeRing(ctx, Options{}, func(ring *v1alpha1.Ring) (bool, error) {
		if err := c.usable(ctx, ring, name); err != nil {
			return false, err
		}
		return join(ring, name, weight), nil
	})
}

// usable refuses a cell that there is not, or that may not join.
func (c *connection) usable(ctx context.Context, ring *v1alpha1.Ring, name string) error {
	if err := c.requireCell(ctx, ring, name); err != nil {
		return err
	}
	return mayJoin(ring, name)
}

// ReturnWeight is the weight with which [Undrain] takes a cell back.
func ReturnWeight(ring *v1alpha1.Ring, cell string) int32 {
	if weight := Weight(ring.Status.Current, cell); weight != 0 {
		return weight
	}
	return placement.DefaultWeight
}

// Weight is the weight of a cell in a layout, 0 where it is not a member of it or there is none.
func Weight(layout *v1alpha1.RingLayout, cell string) int32 {
	if layout == nil {
		return 0
	}
	if i := memberIndex(layout.Members, cell); i >= 0 {
		return layout.Members[i].Weight
	}
	return 0
}

// SetWeight sets the wanted weight of a member, 1 to placement.MaxWeight; 100 is an ordinary cell.
func SetWeight(ctx context.Context, rcp *rest.Config, name string, weight int32, options Options) (RingChange, error) {
	if err := CheckWeight(weight); err != nil {
		return RingChange{}, err
	}
	c, err := connect(rcp)
	if err != nil {
		return RingChange{}, err
	}
	return c.changeRing(ctx, options, func(ring *v1alpha1.Ring) (bool, error) {
		i := memberIndex(ring.Spec.Members, name)
		if i < 0 || slices.Contains(ring.Status.Unavailable, name) {
			if err := c.usable(ctx, ring, name); err != nil {
				return false, err
			}
			return false, exit.Refusedf("%s is not in the wanted ring and so has no weight", name).
				WithHint("kubectl cell undrain %s", name)
		}
		if ring.Spec.Members[i].Weight == weight {
			return false, nil
		}
		ring.Spec.Members[i].Weight = weight
		return true, nil
	})
}

// CheckWeight is the CEL rule of RingMember.weight, before any request. The error is a usage error.
func CheckWeight(weight int32) error {
	if weight >= 1 && weight <= placement.MaxWeight {
		return nil
	}
	return exit.Usagef("weight is %d; it must be 1 to %d, and 100 is an ordinary cell", weight, placement.MaxWeight).
		WithHint("to empty a cell: kubectl cell drain NAME")
}

// join makes a cell a member that is none.
func join(ring *v1alpha1.Ring, name string, weight int32) (changed bool) {
	if memberIndex(ring.Spec.Members, name) >= 0 {
		return false
	}
	ring.Spec.Members = append(ring.Spec.Members, v1alpha1.RingMember{Cell: name, Weight: weight})
	return true
}

func memberIndex(members []v1alpha1.RingMember, cell string) int {
	return slices.IndexFunc(members, func(m v1alpha1.RingMember) bool { return m.Cell == cell })
}

// requireCell is nil when there is a Cell of that name, and else an error that lists those there are.
func (c *connection) requireCell(ctx context.Context, ring *v1alpha1.Ring, name string) error {
	cells, err := c.cell.Cells().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list cells: %w", err)
	}
	known := make([]string, 0, len(cells.Items))
	for _, cell := range cells.Items {
		if cell.Name == name {
			return nil
		}
		known = append(known, cell.Name)
	}
	// A ring that was edited by hand may have members without a Cell; they are known as well.
	for _, m := range ring.Spec.Members {
		if !slices.Contains(known, m.Cell) {
			known = append(known, m.Cell)
		}
	}
	return unknownCell(name, known)
}

func unknownCell(name string, known []string) error {
	if len(known) == 0 {
		return exit.Errorf(exit.Failure, "there is no cell %q: the federation has no cells yet", name).
			WithHint("kubectl cell add NAME --kubeconfig FILE")
	}
	slices.Sort(known)
	return exit.Errorf(exit.Failure, "there is no cell %q; the federation has %s", name, strings.Join(known, ", ")).
		WithHint("kubectl cell get cells")
}
