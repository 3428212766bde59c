package migration

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Undo takes copies and marks of a unit back, so that it can be written again in its old cell. It reads
// what is there, and may be called for any unit, any number of times.
//
// The error is [ErrFlipped] where it is too late, and nothing was done: an object counts in the new cell and is not revealed
// there, or all have moved. A tombstone whose move has ended stays, and the rest is taken back. It is [ErrCopyLeft] where
// the unit can be written, and a copy may be left because the new cell did not let it be removed: the next Move
// or Undo takes care of it, and [Units] names it. Others may be tried again.
//
// The copy of an object that is not in the old cell any more stays: whether that was deleted before its flip,
// or its tombstone after it by somebody's hand, cannot be told. [Units] names it as a leftover.
//
// A new cell that has left the ring is not asked; see [Mover.Left]. What was flipped went with it, and is for the failover to
// bring back: its tombstone stays, as one whose move has ended, since the object may have been changed or deleted there. It is
// never too late then.
func (m *Mover) Undo(ctx context.Context, unit Unit) error {
	return m.undo(ctx, unit, func(types.UID) bool { return false })
}

// Retract is [Mover.Undo] for a unit of which the caller knows that nothing was flipped. It removes the copies of objects
// that are not in the old cell any more as well: they were deleted there, and nobody can make them anew while a copy is
// in the way.
func (m *Mover) Retract(ctx context.Context, unit Unit) error {
	return m.undo(ctx, unit, func(types.UID) bool { return true })
}

// UndoOrFinish has a unit open to writes again, whatever earlier calls have left of it: it is taken back as by [Mover.Undo], and
// where that is too late it is moved on as by [Mover.Move]. Its objects are read anew before they are marked, since time has
// passed since they were found. The errors are those of Undo but for [ErrFlipped], or say why it could not be moved on; then
// the unit stays as it is for the next call.
func (m *Mover) UndoOrFinish(ctx context.Context, unit Unit) error {
	err := m.Undo(ctx, unit)
	if errors.Is(err, ErrFlipped) {
		return m.Move(ctx, unit.Stale()).Problem()
	}
	return err
}

// undo knows of some objects that they were not flipped.
func (m *Mover) undo(ctx context.Context, unit Unit, unflipped func(types.UID) bool) error {
	r, err := m.beginBack(unit)
	if err != nil {
		return err
	}
	if err := r.together(ctx, r.items, r.look); err != nil {
		return fmt.Errorf("undo %s: %w", unit, err)
	}
	if i := r.tooLate(); i != nil {
		return fmt.Errorf("undo %s: %s: %w", unit, i, ErrFlipped)
	}
	_ = ownersFirst(r.items) // members of a circle go in any order
	// The copies are read before the marks are taken off, each in the version in which it was read, and deleted in that
	// version after. A driver that works on the unit at the same time cannot flip then without marking again, and
	// after that it writes the copy again: one that somebody has made the object is never deleted.
	copies, left := r.unwanted(ctx, unflipped)
	for _, i := range r.items {
		if !i.pending() {
			continue
		}
		if err := r.unmark(ctx, i); err != nil {
			return fmt.Errorf("undo %s: %w", unit, err)
		}
		if i.source != nil && i.source.status() == v1alpha1.Migrated && r.to != nil {
			return fmt.Errorf("undo %s: %s: %w", unit, i, ErrFlipped)
		}
	}
	for _, i := range slices.Backward(r.items) {
		if copied := copies[i]; copied != nil && left == nil {
			left = r.remove(ctx, r.to, i, copied) // one without a tombstone stands for nothing
		}
	}
	if left != nil {
		return fmt.Errorf("undo %s: %w: %w", unit, ErrCopyLeft, left)
	}
	return nil
}

// tooLate is an object for which the unit cannot go back, nil where there is none: one that is half moved, or any where all
// have moved.
func (r *run) tooLate() *item {
	if n := slices.IndexFunc(r.items, (*item).half); n >= 0 {
		return r.items[n]
	}
	if slices.ContainsFunc(r.items, func(i *item) bool { return !i.flipped }) || len(r.items) == 0 || r.to == nil {
		return nil
	}
	return r.items[0]
}

// unwanted reads the incoming copies of the unit.
func (r *run) unwanted(ctx context.Context, unflipped func(types.UID) bool) (map[*item]*document, error) {
	copies := map[*item]*document{}
	if r.to == nil {
		return copies, nil
	}
	for _, i := range r.items {
		if i.flipped || i.gone && !unflipped(i.UID) {
			continue
		}
		found, err := r.to.get(ctx, &i.Object)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return copies, judge(&i.Object, r.to.Name, "read", err)
		case found.status() == v1alpha1.Incoming && found.annotations[v1alpha1.AnnotationFromCell] == r.unit.From:
			copies[i] = found
		}
	}
	return copies, nil
}

// discard removes what is incoming in the new cell, if it is wanted gone.
func (r *run) discard(ctx context.Context, i *item, unwanted func(*document) bool) error {
	found, err := r.to.get(ctx, &i.Object)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return judge(&i.Object, r.to.Name, "read", err)
	}
	if found.status() != v1alpha1.Incoming || !unwanted(found) {
		return nil
	}
	return r.remove(ctx, r.to, i, found)
}

// unmark makes the object in the old cell an ordinary one again.
func (r *run) unmark(ctx context.Context, i *item) error {
	for range tries {
		if i.source.status() != v1alpha1.Migrating {
			return nil
		}
		annotations := map[string]any{}
		for _, mark := range marks() {
			annotations[mark] = nil
		}
		patch, err := patchOf(map[string]any{
			"resourceVersion": i.source.version(), "annotations": annotations,
			"labels": map[string]any{v1alpha1.LabelRebalanceStatus: nil},
		})
		if err != nil {
			return err
		}
		err = r.from.patchBlind(ctx, &i.Object, patch)
		if err == nil {
			r.step(Unmarked, &i.Object)
			return nil
		}
		if apierrors.IsConflict(err) {
			i.source, err = r.from.get(ctx, &i.Object)
		}
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return judge(&i.Object, r.from.Name, "take the mark off", err)
		}
	}
	return fail(Unavailable, &i.Object, "it was changed %d times while its mark was to be taken off", tries)
}
