package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/replication"
)

// fieldManager of what this daemon writes on Cells: it applies one condition and leaves those of others alone.
const fieldManager = "kubecell-backup"

// reporter writes the condition Replicated of Cells.
type reporter struct {
	client *client.Client
	now    func() time.Time
}

// report writes the verdict on the Cell, unless it is there already.
func (r *reporter) report(ctx context.Context, name string, verdict replication.Verdict) error {
	cell, err := r.client.Cells().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read cell %s: %w", name, err)
	}
	condition := metav1.Condition{
		Type: v1alpha1.ConditionReplicated, Status: metav1.ConditionFalse,
		Reason: verdict.Reason, Message: verdict.Message, LastTransitionTime: metav1.NewTime(r.now()),
	}
	if verdict.Replicated {
		condition.Status = metav1.ConditionTrue
	}
	conditions := cell.Status.Conditions
	if !meta.SetStatusCondition(&conditions, condition) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion().String(), "kind": "Cell",
		// With the UID the server refuses to write onto another Cell of that name.
		"metadata": map[string]any{"name": name, "uid": cell.UID},
		"status": map[string]any{
			"conditions": []metav1.Condition{*meta.FindStatusCondition(conditions, v1alpha1.ConditionReplicated)},
		},
	})
	if err != nil {
		return fmt.Errorf("encode condition: %w", err)
	}
	force := true
	_, err = r.client.Cells().Patch(ctx, name, types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager, Force: &force}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write condition of cell %s: %w", name, err)
	}
	return nil
}
