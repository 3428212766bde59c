package client

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// ApplyCellStatus applies a part of a Cell's status, by manager, and leaves what others own alone. part makes it from the
// Cell as it stands, and is asked again where somebody was faster; nil writes nothing. Nor is anything written once the
// Cell is gone or has another UID than uid, which is where uid is empty the first one's that was read.
//
// The version of what was read goes along: for a status the server compares versions alone, and takes a UID of another
// object for no conflict.
func (c *Client) ApplyCellStatus(ctx context.Context, name string, uid types.UID, manager string, part func(*v1alpha1.Cell) map[string]any) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		cell, err := c.Cells().Get(ctx, name, metav1.GetOptions{})
		if err != nil || uid != "" && cell.UID != uid {
			return err
		}
		uid = cell.UID
		status := part(cell)
		if status == nil {
			return nil
		}
		patch, err := json.Marshal(map[string]any{
			"apiVersion": v1alpha1.GroupVersion().String(), "kind": "Cell",
			"metadata": map[string]any{"name": name, "resourceVersion": cell.ResourceVersion},
			"status":   status,
		})
		if err != nil {
			return err
		}
		force := true
		_, err = c.Cells().Patch(ctx, name, types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: manager, Force: &force}, "status")
		return err
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write status of cell %s: %w", name, err)
	}
	return nil
}

// ApplyCellCondition is [Client.ApplyCellStatus] of one condition. One that says what is there already is not written; where
// it does not say since when it holds, that is now.
func (c *Client) ApplyCellCondition(ctx context.Context, name, manager string, condition metav1.Condition) error {
	return c.ApplyCellStatus(ctx, name, "", manager, func(cell *v1alpha1.Cell) map[string]any {
		conditions := cell.Status.Conditions
		if !meta.SetStatusCondition(&conditions, condition) {
			return nil
		}
		return map[string]any{"conditions": []metav1.Condition{*meta.FindStatusCondition(conditions, condition.Type)}}
	})
}
