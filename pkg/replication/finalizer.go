package replication

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// hold gives a source that waits for cells its finalizer, and returns the source as it is then. It is
// called before a copy is made, so that there is no copy whose source could vanish. The error is a
// conflict where the source has changed since it was read.
func hold(ctx context.Context, rcp dynamic.Interface, o Object, source *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if leaving(source) || !WaitsForCells(o) || held(source) {
		return source, nil
	}
	after, err := setFinalizers(ctx, rcp, o, source, append(source.GetFinalizers(), v1alpha1.FinalizerCells))
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return after, err
}

func held(source *unstructured.Unstructured) bool {
	return slices.Contains(source.GetFinalizers(), v1alpha1.FinalizerCells)
}

// release takes the finalizer off: no cell has a copy any more.
func release(ctx context.Context, rcp dynamic.Interface, o Object, source *unstructured.Unstructured) error {
	left := slices.DeleteFunc(source.GetFinalizers(), func(f string) bool { return f == v1alpha1.FinalizerCells })
	_, err := setFinalizers(ctx, rcp, o, source, left)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// setFinalizers writes the finalizers of the source that was read; another version is a conflict.
func setFinalizers(ctx context.Context, rcp dynamic.Interface, o Object, source *unstructured.Unstructured, finalizers []string) (*unstructured.Unstructured, error) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": source.GetResourceVersion(), "finalizers": finalizers,
	}})
	if err != nil {
		return nil, fmt.Errorf("encode finalizers: %w", err)
	}
	return o.in(rcp).Patch(ctx, o.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
}

// Reasons of the condition CellsRemaining.
const (
	reasonEmptying    = "CellsNotEmpty"
	reasonUnreachable = "CellUnreachable"
)

// tellRemaining writes on a source that is being deleted which cells it waits for. A condition that
// says so already is not written again.
func tellRemaining(ctx context.Context, rcp dynamic.Interface, o Object, source *unstructured.Unstructured, reason, message string, now time.Time) error {
	conditions, _, _ := unstructured.NestedSlice(source.Object, "status", "conditions")
	for _, c := range conditions {
		had, _ := c.(map[string]any)
		if had["type"] == v1alpha1.ConditionCellsRemaining && had["reason"] == reason && had["message"] == message {
			return nil
		}
	}
	status := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": source.GetAPIVersion(), "kind": source.GetKind(),
		// With the UID the server refuses to write onto another object of that name.
		"metadata": map[string]any{"name": o.Name, "uid": string(source.GetUID())},
		"status": map[string]any{"conditions": []any{map[string]any{
			"type": v1alpha1.ConditionCellsRemaining, "status": string(metav1.ConditionTrue),
			"reason": reason, "message": message, "lastTransitionTime": now.UTC().Format(time.RFC3339),
		}}},
	}}
	_, err := o.in(rcp).ApplyStatus(ctx, o.Name, status, metav1.ApplyOptions{FieldManager: v1alpha1.FieldManager, Force: true})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // it is gone, or another one by now
	}
	return err
}
