package migration

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// flip makes the old object a tombstone, if it still is what was copied. Without finalizers and owners
// it can be deleted later with nothing being torn down, and no namespace waits for it. again says that it
// was changed, and has to be copied once more.
func (r *run) flip(ctx context.Context, i *item) (again bool, err error) {
	if !i.pending() {
		return false, nil
	}
	body, err := r.tombstone(i)
	if err != nil {
		return false, err
	}
	err = r.from.updateBlind(ctx, &i.Object, body)
	switch {
	case err == nil:
		r.setFlipped(i, false)
		r.step(Flipped, &i.Object)
		return false, nil
	case apierrors.IsNotFound(err):
		i.gone = true
	case apierrors.IsConflict(err):
		if err := r.markAgain(ctx, i); err != nil {
			return false, err
		}
	default:
		return false, judge(&i.Object, r.from.Name, "flip", err)
	}
	if i.gone || i.left {
		return false, r.drop(ctx, i)
	}
	return i.pending(), nil
}

// tombstone is the object in the old cell without finalizers and owners. An update that has no managedFields leaves them as
// they are.
func (r *run) tombstone(i *item) ([]byte, error) {
	d := i.source.clone()
	d.labels[v1alpha1.LabelRebalanceStatus] = string(v1alpha1.Migrated)
	d.annotations[v1alpha1.AnnotationMigrationTime] = r.now()
	d.owners = nil
	delete(d.meta, "finalizers")
	delete(d.meta, "managedFields")
	return d.encode()
}

// drop takes back the copy, and the mark, of an object that does not move after all.
func (r *run) drop(ctx context.Context, i *item) error {
	if i.copy != nil {
		if err := r.remove(ctx, r.to, i, i.copy); err != nil {
			return err
		}
	}
	if i.gone {
		return nil
	}
	return r.unmark(ctx, i)
}

// reveal makes the copy the object. Its managedFields are written by the same request: what takes marks
// off and adds nothing leaves them as they are sent.
func (r *run) reveal(ctx context.Context, i *item) error {
	for range tries {
		done, err := r.revealOnce(ctx, i)
		if done || err != nil {
			return err
		}
		// A garbage collector has written it, or it was deleted and perhaps made anew.
		i.copy, err = r.to.get(ctx, &i.Object)
		switch {
		case apierrors.IsNotFound(err):
			return nil // nothing of ours is left to be revealed
		case err != nil:
			return judge(&i.Object, r.to.Name, "reveal", err)
		}
	}
	return fail(Unavailable, &i.Object, "the copy was changed %d times while it was to be revealed", tries)
}

// revealOnce is not done where the copy has changed since it was read: perhaps somebody else has revealed it, and it
// was written since.
func (r *run) revealOnce(ctx context.Context, i *item) (done bool, err error) {
	if !i.flipped || i.copy == nil || i.copy.status() != v1alpha1.Incoming ||
		i.copy.annotations[v1alpha1.AnnotationFromUID] != string(i.source.uid()) {
		return true, nil
	}
	body, err := i.revealed()
	if err != nil {
		return false, err
	}
	err = r.to.updateBlind(ctx, &i.Object, body)
	switch {
	case err == nil:
		r.step(Revealed, &i.Object)
	case apierrors.IsConflict(err):
		return false, nil
	case apierrors.IsNotFound(err):
		// It was deleted: nothing of ours is left to be revealed.
	default:
		return false, judge(&i.Object, r.to.Name, "reveal", err)
	}
	return true, nil
}

// revealed is the copy without its marks, and with the managedFields of the object.
func (i *item) revealed() ([]byte, error) {
	fields, err := i.managedFields()
	if err != nil {
		return nil, err
	}
	d := i.copy.clone()
	delete(d.labels, v1alpha1.LabelRebalanceStatus)
	for _, mark := range incomingMarks() {
		delete(d.annotations, mark)
	}
	d.meta["managedFields"] = fields
	return d.encode()
}

// managedFields are those of the object before it was marked.
func (i *item) managedFields() (json.RawMessage, error) {
	saved := i.copy.annotations[v1alpha1.AnnotationManagedFields]
	if saved != "" && json.Valid([]byte(saved)) {
		return json.RawMessage(saved), nil
	}
	return i.source.managedFields()
}

// patchOf is a merge patch of metadata alone.
func patchOf(metadata map[string]any) ([]byte, error) {
	return encode(map[string]any{"metadata": metadata})
}

// remove deletes a copy or a tombstone, unless it has changed since it was read. Without its finalizers, which are the real object's, nothing acts
// on the deletion; what it owns is orphaned, not deleted. Of one that is being deleted already, as with its namespace, the
// garbage collector takes its own off.
func (r *run) remove(ctx context.Context, cell *Cell, i *item, d *document) error {
	version, finalizers := d.version(), d.finalizers()
	left := FinalizersToKeep(finalizers, d.deleting())
	if len(left) < len(finalizers) {
		patch, err := patchOf(map[string]any{"uid": d.uid(), "resourceVersion": version, "finalizers": left})
		if err != nil {
			return err
		}
		released, err := cell.patch(ctx, &i.Object, patch)
		switch {
		case apierrors.IsNotFound(err), apierrors.IsConflict(err):
			return nil // another one has its name, or nobody
		case err != nil:
			return judge(&i.Object, cell.Name, "take the finalizers off the copy", err)
		}
		version = released.version()
		r.step(Released, &i.Object)
	} else if d.deleting() {
		return nil
	}
	err := cell.delete(ctx, &i.Object, d.uid(), version)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return judge(&i.Object, cell.Name, fmt.Sprintf("delete the %s object", d.status()), err)
	}
	r.step(Discarded, &i.Object)
	return nil
}

// FinalizersToKeep are those of a copy or a tombstone that stay when it is removed: of one that is being deleted already the
// garbage collector's, which that takes off.
func FinalizersToKeep(finalizers []string, deleting bool) []string {
	return slices.DeleteFunc(slices.Clone(finalizers), func(finalizer string) bool {
		return !deleting || finalizer != metav1.FinalizerOrphanDependents && finalizer != metav1.FinalizerDeleteDependents
	})
}
