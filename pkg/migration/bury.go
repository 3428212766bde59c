package migration

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// Bury deletes the tombstones of a cell whose grace has ended, and returns how many. What they owned is
// orphaned, never deleted. It may be called any number of times, by several at once. grace says how long
// tombstones of a run stay, by its name; below 0 they are not touched, which is how it must be for a run that
// may not have ended.
//
// A tombstone stays while the copy that it stands for is still incoming, however old it is: it is what
// says that the copy is the object. Therefore all cells have to answer. One without a date stays as well,
// and is named in the error once the others are gone.
func Bury(ctx context.Context, cells map[string]*Cell, cell string, snap *routing.Snapshot, grace func(rebalance string) time.Duration, now clock.PassiveClock) (int, error) {
	copies, err := incoming(ctx, cells, snap)
	if err != nil {
		return 0, fmt.Errorf("bury tombstones of cell %s: %w", cell, err)
	}
	buried := 0
	var problems []error
	err = cells[cell].InState(ctx, snap, v1alpha1.Migrated, func(o Object, meta *metav1.PartialObjectMetadata) error {
		if _, waits := copies[o.at(meta.Annotations[v1alpha1.AnnotationMovesTo])]; waits {
			return nil
		}
		since, err := time.Parse(time.RFC3339, meta.Annotations[v1alpha1.AnnotationMigrationTime])
		if err != nil {
			problems = append(problems, fmt.Errorf("%s has no date: %w", o, err))
			return nil
		}
		stays := grace(meta.Annotations[v1alpha1.AnnotationRebalance])
		if stays < 0 || o.Deleting || since.After(now.Now().Add(-stays)) {
			return nil
		}
		err = cells[cell].delete(ctx, &o, o.UID, o.ResourceVersion)
		switch {
		case apierrors.IsNotFound(err), apierrors.IsConflict(err):
			return nil // it is gone, or has changed and is for the next call
		case err != nil:
			return fmt.Errorf("delete %s: %w", o, err)
		}
		buried++
		return nil
	})
	if err := errors.Join(append(problems, err)...); err != nil {
		return buried, fmt.Errorf("bury tombstones of cell %s: %w", cell, err)
	}
	return buried, nil
}

// Discard removes a leftover, if it is still the one that was found.
func Discard(ctx context.Context, cells map[string]*Cell, leftover Leftover) error {
	cell := cells[leftover.Cell]
	r := &run{Mover: &Mover{Cells: cells}, to: cell}
	i := &item{Object: leftover.Object}
	found, err := cell.get(ctx, &i.Object)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("discard a copy in cell %s: %w", cell.Name, err)
	}
	if found.uid() != leftover.Object.UID || found.status() != v1alpha1.Incoming {
		return nil
	}
	return r.remove(ctx, cell, i, found)
}
