// Package replication keeps the copies of Replicated objects in the cells equal to their sources in
// the router control plane (RCP).
//
// Replicated are namespaces, CustomResourceDefinitions, RBAC, quotas and the like: what a cell needs
// to judge and to serve its share of the workloads. The RCP is the only source. A copy is written by
// server-side apply as field manager "kubecell", so that what a cell adds for itself (status,
// finalizers, an annotation of its own controllers) is left to it, and what disappears from the
// source disappears from the copy.
//
// Every control plane makes some of these objects for itself: the default service account, the
// namespace kube-system, the bootstrap cluster roles. One that says the same as the source is left
// untouched; one that differs is adopted, that is, applied over. What is in a cell, is no copy and
// has no source is the cell's own and is never deleted.
//
// [Push] brings one object to one cell, [Sync] all objects. Both may run twice, at the same time and
// in any order with themselves: each reads the copy first and the source last, touches only the copy
// that it has read, and goes on until the source it read is still the newest afterwards. However
// many run, the last one to end leaves the copy equal to the source.
//
// A copy of another source of the same name (it was deleted and made again while the cell was away) is
// replaced, where nothing hangs from it. A namespace or a definition is not: that would delete
// workloads, and after a loss of the RCP all of them. It is reported with [ErrForeign].
//
// Not promised: that two cells change at the same instant, or that a cell which could not be reached
// is brought up to date by anyone but the next Sync.
package replication

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Object names one Replicated object.
type Object struct {
	Resource schema.GroupVersionResource
	// Namespace is empty for a cluster-scoped object.
	Namespace string
	Name      string
}

func (o Object) String() string {
	name := o.Name
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	return o.Resource.Resource + " " + name
}

func (o Object) in(client dynamic.Interface) dynamic.ResourceInterface {
	if o.Namespace == "" {
		return client.Resource(o.Resource)
	}
	return client.Resource(o.Resource).Namespace(o.Namespace)
}

// Excluded says whether an object stays in the RCP although its class is Replicated: this project's
// own definitions, which cells must not serve.
func Excluded(o Object) bool {
	return o.Resource.Group == "apiextensions.k8s.io" && len(o.Name) > len(v1alpha1.GroupName) &&
		o.Name[len(o.Name)-len(v1alpha1.GroupName)-1:] == "."+v1alpha1.GroupName
}

// ErrForeign is returned for a copy that belongs to another source of the same name, and from which
// workloads hang. An administrator has to look at it, and delete it in the cell or keep what is in it.
var ErrForeign = errors.New("it is the copy of an earlier object of that name and was left alone")

// Push makes the copy of o in cell equal to its source in rcp: applied, or deleted where the source
// is gone or being deleted. The caller has just written the source, so that a copy without source is
// deleted even where the cell made it.
func Push(ctx context.Context, rcp, cell dynamic.Interface, o Object) error {
	if Excluded(o) {
		return nil
	}
	for {
		copied, err := find(ctx, cell, o)
		if err != nil {
			return fmt.Errorf("read copy of %s: %w", o, err)
		}
		source, err := find(ctx, rcp, o)
		if err != nil {
			return fmt.Errorf("read source of %s: %w", o, err)
		}
		if _, err = reconcile(ctx, cell, o, source, copied); err != nil && !apierrors.IsConflict(err) {
			return err
		}
		if err != nil {
			continue // somebody else wrote the copy: judge it again
		}
		newest, err := find(ctx, rcp, o)
		if err != nil {
			return fmt.Errorf("read source of %s: %w", o, err)
		}
		if sameVersion(source, newest) {
			return nil
		}
	}
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

// reconcile makes copied, which is nil where there is none, say what source says, and reports whether
// it wrote. A conflict means that the copy is another one by now.
func reconcile(ctx context.Context, cell dynamic.Interface, o Object, source, copied *unstructured.Unstructured) (bool, error) {
	if leaving(source) {
		return !leaving(copied), remove(ctx, cell, o, copied)
	}
	foreign := copied != nil && copyOf(copied) != "" && copyOf(copied) != string(source.GetUID())
	switch {
	case copied != nil && copied.GetDeletionTimestamp() != nil:
		// The source was deleted and made again; its old copy is still on its way out.
		if err := awaitGone(ctx, cell, o, copied); err != nil {
			return false, err
		}
	case foreign && holdsOthers(o):
		return false, fmt.Errorf("copy of %s: %w", o, ErrForeign)
	case foreign:
		if err := remove(ctx, cell, o, copied); err != nil {
			return false, err
		}
	case copied != nil && Same(source, copied):
		return false, nil
	}
	_, err := o.in(cell).Apply(ctx, o.Name, desired(source), metav1.ApplyOptions{
		FieldManager: v1alpha1.FieldManager,
		Force:        true,
	})
	if err != nil {
		return false, fmt.Errorf("apply copy of %s: %w", o, err)
	}
	return true, nil
}

// holdsOthers says whether other objects go when this one is deleted.
func holdsOthers(o Object) bool {
	return o.Resource.Resource == "namespaces" || o.Resource.Resource == "customresourcedefinitions"
}

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
