package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// conditionManager of what is said about the freeze: it applies one condition and leaves those of others alone.
const conditionManager = "kubecell-failover"

// Frozen is what became of an attempt to freeze a cell: a reason of [v1alpha1.ConditionFrozen].
type Frozen struct{ Reason, Message string }

// InForce says that the cell refuses writes.
func (f Frozen) InForce() bool { return f.Reason == v1alpha1.ReasonFreezeInForce }

func (f Frozen) String() string {
	switch f.Reason {
	case v1alpha1.ReasonFreezeInForce:
		return "the cell is frozen"
	case v1alpha1.ReasonFreezeUnreachable:
		return "the cell does not answer, and is frozen when it does"
	}
	return "the cell is not frozen: " + f.Message
}

// Freeze freezes a cell, and returns when that is in force, has failed, or ctx has ended.
func Freeze(ctx context.Context, config *rest.Config) Frozen {
	quick := rest.CopyConfig(config)
	quick.Timeout = askTimeout
	if _, err := federation.Probe(ctx, quick); err != nil {
		return Frozen{v1alpha1.ReasonFreezeUnreachable, err.Error()}
	}
	_, err := fence.Freeze(ctx, quick)
	if err == nil {
		err = fence.AwaitFrozen(ctx, quick)
	}
	switch {
	case errors.Is(err, fence.ErrUnsupported):
		return Frozen{v1alpha1.ReasonFreezeUnsupported, err.Error()}
	case err != nil:
		return Frozen{v1alpha1.ReasonFreezeFailed, err.Error()}
	}
	return Frozen{Reason: v1alpha1.ReasonFreezeInForce}
}

// Thaw lets a cell be written to again, and returns when it does or ctx has ended.
func Thaw(ctx context.Context, config *rest.Config) error {
	quick := rest.CopyConfig(config)
	quick.Timeout = askTimeout
	if err := fence.Thaw(ctx, quick); err != nil {
		return err
	}
	return fence.AwaitThawed(ctx, quick)
}

// wrapped is config with what a test changes in the way to a cell.
func wrapped(config *rest.Config, cell string, wrap func(string, *rest.Config)) *rest.Config {
	out := rest.CopyConfig(config)
	out.QPS, out.Burst = -1, -1
	if wrap != nil {
		wrap(cell, out)
	}
	return out
}

// sayFrozen writes the condition on the Cell, unless it is there already.
func sayFrozen(ctx context.Context, c *client.Client, cell string, state Frozen) error {
	known, err := c.Cells().Get(ctx, cell, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read cell %s: %w", cell, err)
	}
	condition := metav1.Condition{
		Type: v1alpha1.ConditionFrozen, Status: metav1.ConditionFalse, Reason: state.Reason, Message: state.Message,
	}
	if state.InForce() {
		condition.Status = metav1.ConditionTrue
	}
	conditions := known.Status.Conditions
	if !meta.SetStatusCondition(&conditions, condition) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion().String(), "kind": "Cell",
		// With the UID the server refuses to write onto another Cell of that name.
		"metadata": map[string]any{"name": cell, "uid": known.UID},
		"status": map[string]any{
			"conditions": []metav1.Condition{*meta.FindStatusCondition(conditions, v1alpha1.ConditionFrozen)},
		},
	})
	if err != nil {
		return fmt.Errorf("encode condition: %w", err)
	}
	force := true
	_, err = c.Cells().Patch(ctx, cell, types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: conditionManager, Force: &force}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write condition of cell %s: %w", cell, err)
	}
	return nil
}
