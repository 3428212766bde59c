package rebalance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

const (
	// reasonInTheWay is that of the condition CellsUsable while the run cannot walk back.
	reasonInTheWay = "ObjectsInTheWay"
	// inTheWayAgain is when that is looked at again. It costs a search of all cells, and somebody has to do something before.
	inTheWayAgain = 10 * time.Second
	// maxInTheWay is how many objects are named.
	maxInTheWay = 10
)

// errInTheWay says that the run stays where it is, since turning back would show other objects than those that clients have
// written.
var errInTheWay = errors.New("the run cannot walk back")

// inTheWay is errInTheWay where an object that has not moved meets one of its name in its new cell, which somebody made there
// past the routers. They do not show that one; they would once the run has turned, since then they look in that cell first, and
// what was written to the other one would be hidden.
func inTheWay(ctx context.Context, cells map[string]*migration.Cell, found *migration.Found) error {
	var names []string
	for _, unit := range found.Units {
		for _, o := range unit.Objects {
			if !o.Taken {
				continue
			}
			stays, err := unmoved(ctx, cells[unit.From], o)
			if err != nil {
				return err
			}
			if stays {
				names = append(names, fmt.Sprintf("%s in cell %s", o, unit.To))
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	more := ""
	if n := len(names) - maxInTheWay; n > 0 {
		names, more = names[:maxInTheWay], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("%w while there are objects that would be shown instead of those of the same names that have not moved; "+
		"delete them, or give them other names: %s%s", errInTheWay, strings.Join(names, ", "), more)
}

// unmoved says whether an object that was found in its old cell is still there. Cells are listed one after another: what a
// client deletes and makes anew meanwhile, which is in its new cell then, has been seen in both and never was.
func unmoved(ctx context.Context, cell *migration.Cell, o migration.Object) (bool, error) {
	now, err := cell.Look(ctx, o)
	if err != nil {
		return false, fmt.Errorf("look once more for what has not moved: %w", err)
	}
	return now != nil && now.UID == o.UID && now.Labels[v1alpha1.LabelRebalanceStatus] != string(v1alpha1.Migrated), nil
}
