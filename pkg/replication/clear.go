package replication

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// Clear deletes in a cell what [Sync] and a [Controller] leave alone with [ErrForeign]: copies whose sources were deleted
// while nobody waited for the cell. The caller knows that nothing counts of what goes with them. It returns how many
// deletions it has asked for, and does not wait for their ends. rcp and cell are as in Sync.
func Clear(ctx context.Context, rcp, cell *rest.Config, name string, snap *routing.Snapshot) (int, error) {
	resources, err := Resources(rcp, snap.Classes)
	if err != nil {
		return 0, err
	}
	c, err := newComparison(rcp, cell, name, snap)
	if err != nil {
		return 0, err
	}
	n := 0
	var failed []error
	for _, resource := range resources {
		if !holdsOthers(Object{Resource: resource}) {
			continue
		}
		_, err := c.compare(ctx, resource, func(o Object, _ bool) {
			cleared, err := c.clear(ctx, o)
			if err != nil {
				failed = append(failed, err)
			} else if cleared {
				n++
			}
		})
		failed = append(failed, err)
	}
	return n, errors.Join(failed...)
}

// clear deletes the copy of o unless its source is there.
func (c *comparison) clear(ctx context.Context, o Object) (bool, error) {
	for WaitsForCells(o) {
		copied, err := find(ctx, c.cell.Client, o)
		if err != nil {
			return false, fmt.Errorf("read copy of %s: %w", o, err)
		}
		source, err := find(ctx, c.rcp, o)
		if err != nil {
			return false, fmt.Errorf("read source of %s: %w", o, err)
		}
		if leaving(copied) || copyOf(copied) == "" || source != nil && !foreignTo(source, copied) {
			return false, nil
		}
		if err := remove(ctx, c.cell.Client, o, copied); !apierrors.IsConflict(err) {
			return err == nil, err
		}
	}
	return false, nil
}
