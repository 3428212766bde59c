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
// in any order with themselves: each reads its source last and writes what it read.
//
// Not promised: that two cells change at the same instant, or that a cell which could not be reached
// is brought up to date by anyone but the next Sync.
package replication

import (
	"context"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

// Push makes the copy of o in cell equal to its source in rcp: applied, or deleted where the source
// is gone or being deleted. The caller has just written the source, so that a copy without source is
// deleted even where the cell made it.
func Push(ctx context.Context, rcp, cell dynamic.Interface, o Object) error {
	if Excluded(o) {
		return nil
	}
	source, err := o.in(rcp).Get(ctx, o.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return remove(ctx, cell, o)
	case err != nil:
		return fmt.Errorf("read source of %s: %w", o, err)
	case source.GetDeletionTimestamp() != nil:
		return remove(ctx, cell, o)
	}
	copied, err := o.in(cell).Get(ctx, o.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read copy of %s: %w", o, err)
	}
	if err != nil {
		copied = nil
	}
	_, err = reconcile(ctx, cell, o, source, copied)
	return err
}

// reconcile applies source over copied, which is nil where there is none, and says whether it wrote.
func reconcile(ctx context.Context, cell dynamic.Interface, o Object, source, copied *unstructured.Unstructured) (bool, error) {
	if copied != nil && copied.GetDeletionTimestamp() != nil {
		// The source was deleted and made again; its old copy is still on its way out.
		if err := awaitGone(ctx, cell, o, copied); err != nil {
			return false, err
		}
		copied = nil
	}
	if copied != nil && Same(source, copied) {
		return false, nil
	}
	err := apply(ctx, cell, o, source)
	if apierrors.IsInvalid(err) && copied != nil && replaceable(o) && copyOf(copied) != string(source.GetUID()) {
		// A binding's roleRef cannot be changed: this copy belongs to a source that was deleted
		// while the cell was away.
		if err := remove(ctx, cell, o); err != nil {
			return false, err
		}
		err = apply(ctx, cell, o, source)
	}
	if err != nil {
		return false, fmt.Errorf("apply copy of %s: %w", o, err)
	}
	return true, nil
}

func apply(ctx context.Context, cell dynamic.Interface, o Object, source *unstructured.Unstructured) error {
	_, err := o.in(cell).Apply(ctx, o.Name, desired(source), metav1.ApplyOptions{
		FieldManager: v1alpha1.FieldManager,
		Force:        true,
	})
	return err
}

func remove(ctx context.Context, cell dynamic.Interface, o Object) error {
	err := o.in(cell).Delete(ctx, o.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) && !alreadyTerminating(err) {
		return fmt.Errorf("delete copy of %s: %w", o, err)
	}
	return nil
}

// alreadyTerminating recognises the apiserver's refusal to delete a namespace a second time.
func alreadyTerminating(err error) bool {
	return apierrors.IsConflict(err) && apierrors.ReasonForError(err) == metav1.StatusReasonConflict
}

// replaceable says whether nothing hangs from the object, so that deleting and making it again loses
// nothing.
func replaceable(o Object) bool {
	return o.Resource.Group == "rbac.authorization.k8s.io"
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
		case "DELETED":
			return nil
		case "ERROR":
			return fmt.Errorf("wait for the deletion of the old copy of %s: %w", o, apierrors.FromObject(event.Object))
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("wait for the deletion of the old copy of %s: %w", o, ctx.Err())
	}
	return apierrors.NewGenericServerResponse(http.StatusServiceUnavailable, "watch", o.Resource.GroupResource(), o.Name, "watch ended early", 1, true)
}
