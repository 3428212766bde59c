package replication

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// ErrForeign is returned for a copy that others go with and that is of no object that the RCP has. An administrator has to
// look at it, and delete it in the cell or have it adopted: see [v1alpha1.AnnotationAdopts].
var ErrForeign = errors.New("it is left alone, since what belongs to it would go with it")

// OnlyForeign says whether all that went wrong in a [Sync] is [ErrForeign].
func OnlyForeign(err error) bool {
	joined, several := err.(interface{ Unwrap() []error }) //nolint:errorlint // the errors that Sync has joined, and no others
	if !several {
		return errors.Is(err, ErrForeign)
	}
	for _, one := range joined.Unwrap() {
		if !errors.Is(one, ErrForeign) {
			return false
		}
	}
	return true
}

// outcome is what a push did to a copy.
type outcome string

const (
	unchanged outcome = "unchanged"
	created   outcome = "created"
	updated   outcome = "updated"
	deleted   outcome = "deleted"
)

// Push makes the copy of o in cell equal to its source in rcp: applied, or deleted where the source
// is gone or being deleted. The caller has just written the source, so that what has none is
// deleted even where the cell made it; but for a copy that others go with, whose source would have waited for it.
//
// rcp needs the right to read the source and, for what [WaitsForCells], to patch it.
func Push(ctx context.Context, rcp dynamic.Interface, cell Cell, o Object) error {
	return push(ctx, rcp, cell, o, everything, func(outcome) {})
}

// Follow is Push for a caller that does not know whether the source was written: what has none, and is the cell's own or takes
// others with it, is left alone.
func Follow(ctx context.Context, rcp dynamic.Interface, cell Cell, o Object) error {
	return push(ctx, rcp, cell, o, onlyCopies, func(outcome) {})
}

// strays says which objects of a cell are deleted there for want of a source.
type strays bool

const (
	onlyCopies strays = false
	everything strays = true
)

// push tells note of each thing that it has done to the copy.
func push(ctx context.Context, rcp dynamic.Interface, cell Cell, o Object, deletes strays, note func(outcome)) error {
	if Excluded(o) {
		return nil
	}
	if IsQuota(o) {
		return pushQuota(ctx, rcp, cell, o, deletes, note)
	}
	for {
		copied, err := find(ctx, cell.Client, o)
		if err != nil {
			return fmt.Errorf("read copy of %s: %w", o, err)
		}
		source, err := find(ctx, rcp, o)
		if err == nil {
			source, err = hold(ctx, rcp, o, source)
		}
		if apierrors.IsConflict(err) {
			continue // somebody else wrote the source: read it again
		}
		if err != nil {
			return &sourceError{fmt.Errorf("read source of %s: %w", o, err)}
		}
		if source == nil && copied != nil && stays(o, copied, deletes) {
			return leave(ctx, cell, o)
		}
		did, err := reconcile(ctx, cell, o, source, copied)
		if apierrors.IsConflict(err) {
			continue // somebody else wrote the copy: judge it again
		}
		if err != nil {
			return unlessNamespaceEnds(ctx, rcp, o, err)
		}
		note(did)
		newest, err := find(ctx, rcp, o)
		if err != nil {
			return &sourceError{fmt.Errorf("read source of %s: %w", o, err)}
		}
		if sameVersion(source, newest) {
			return nil
		}
	}
}

// unlessNamespaceEnds is nil where a copy was refused since the cell's namespace is gone, or going, and the source's is as
// well: what is in a namespace stays for some seconds after its deletion, and goes with it.
func unlessNamespaceEnds(ctx context.Context, rcp dynamic.Interface, o Object, refused error) error {
	if o.Namespace == "" || !apierrors.IsNotFound(refused) && !apierrors.HasStatusCause(refused, corev1.NamespaceTerminatingCause) {
		return refused
	}
	namespace, err := rcp.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Get(ctx, o.Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && leaving(namespace) {
		return nil
	}
	return refused
}

// stays says whether what has no source is left alone. A copy that others go with is, whoever asks: its own source waits for it.
func stays(o Object, copied *unstructured.Unstructured, deletes strays) bool {
	if copyOf(copied) == "" {
		return deletes == onlyCopies
	}
	return WaitsForCells(o)
}

// leave judges what has no source and is not deleted: the cell's own, unless it is a copy.
func leave(ctx context.Context, cell Cell, o Object) error {
	copied, err := find(ctx, cell.Client, o) // again, since it and its source may have gone together since it was read
	if err != nil {
		return fmt.Errorf("read copy of %s: %w", o, err)
	}
	if leaving(copied) || copyOf(copied) == "" {
		return nil
	}
	return fmt.Errorf("copy of %s: the router control plane has no such object: %w", o, ErrForeign)
}

// find returns nil where there is no such object.
func find(ctx context.Context, client dynamic.Interface, o Object) (*unstructured.Unstructured, error) {
	obj, err := o.in(client).Get(ctx, o.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return obj, err
}

// sameVersion compares an object with what was read of it later; either may be nil. An object that is
// being deleted counts as gone: its source changes on its way out, and its copy no more.
func sameVersion(before, after *unstructured.Unstructured) bool {
	if leaving(before) || leaving(after) {
		return leaving(before) && leaving(after)
	}
	return before.GetUID() == after.GetUID() && before.GetResourceVersion() == after.GetResourceVersion()
}

func leaving(obj *unstructured.Unstructured) bool {
	return obj == nil || obj.GetDeletionTimestamp() != nil
}

// reconcile makes copied, which is nil where there is none, say what source says, and reports what it
// did. A conflict means that the copy is another one by now.
func reconcile(ctx context.Context, cell Cell, o Object, source, copied *unstructured.Unstructured) (outcome, error) {
	if leaving(source) {
		if leaving(copied) {
			return unchanged, nil
		}
		if source != nil && holdsOthers(o) && foreignTo(source, copied) {
			return unchanged, fmt.Errorf("copy of %s: it is of another object of that name than the one that is deleted: %w", o, ErrForeign)
		}
		return deleted, remove(ctx, cell.Client, o, copied)
	}
	foreign := copied != nil && foreignTo(source, copied)
	switch {
	case copied != nil && copied.GetDeletionTimestamp() != nil:
		// The source was deleted and made again; its old copy is still on its way out.
		if err := awaitGone(ctx, cell.Client, o, copied); err != nil {
			return unchanged, err
		}
		copied = nil
	case foreign && holdsOthers(o):
		return unchanged, fmt.Errorf("copy of %s: the router control plane has another object of that name: %w", o, ErrForeign)
	case foreign:
		if err := remove(ctx, cell.Client, o, copied); err != nil {
			return unchanged, err
		}
	case copied != nil && Same(source, copied) && !unclaimed(o, copied):
		return unchanged, nil
	}
	applied, err := o.in(cell.Client).Apply(ctx, o.Name, desired(source), metav1.ApplyOptions{
		FieldManager: v1alpha1.FieldManager,
		Force:        true,
	})
	switch {
	case err != nil:
		return unchanged, fmt.Errorf("apply copy of %s: %w", o, err)
	case copied == nil:
		return created, nil
	case applied.GetResourceVersion() == copied.GetResourceVersion():
		return unchanged, nil // it differed in what is the cell's own
	}
	return updated, nil
}

// foreignTo says whether copied was made from another source of that name, which this one does not adopt the copies of.
func foreignTo(source, copied *unstructured.Unstructured) bool {
	from := copyOf(copied)
	return from != "" && from != string(source.GetUID()) && from != source.GetAnnotations()[v1alpha1.AnnotationAdopts]
}

// holdsOthers says whether other objects go when this one is deleted.
func holdsOthers(o Object) bool { return isNamespace(o) || IsDefinition(o) }

// remove deletes the copy that was read, and no other one. It may be nil, or on its way out.
func remove(ctx context.Context, cell dynamic.Interface, o Object, copied *unstructured.Unstructured) error {
	if leaving(copied) {
		return nil
	}
	uid, version := copied.GetUID(), copied.GetResourceVersion()
	err := o.in(cell).Delete(ctx, o.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete copy of %s: %w", o, err)
	}
	return nil
}

// copyOf returns the UID of the source that an object in a cell is a copy of, or "".
func copyOf(copied *unstructured.Unstructured) string {
	return copied.GetAnnotations()[v1alpha1.AnnotationReplicatedFrom]
}

// awaitGone returns when the copy that is being deleted is gone, or ctx ends.
func awaitGone(ctx context.Context, cell dynamic.Interface, o Object, copied *unstructured.Unstructured) error {
	w, err := o.in(cell).Watch(ctx, metav1.ListOptions{
		FieldSelector:   "metadata.name=" + o.Name,
		ResourceVersion: copied.GetResourceVersion(),
	})
	if err != nil {
		return fmt.Errorf("wait for the deletion of the old copy of %s: %w", o, err)
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		switch event.Type {
		case watch.Deleted:
			return nil
		case watch.Error:
			return fmt.Errorf("wait for the deletion of the old copy of %s: %w", o, apierrors.FromObject(event.Object))
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("wait for the deletion of the old copy of %s: %w", o, ctx.Err())
	}
	// The server ends every watch after a while.
	return apierrors.NewConflict(o.Resource.GroupResource(), o.Name, errors.New("it is still being deleted"))
}
