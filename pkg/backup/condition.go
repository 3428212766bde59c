package backup

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	condition := metav1.Condition{
		Type: v1alpha1.ConditionReplicated, Status: metav1.ConditionFalse,
		Reason: verdict.Reason, Message: verdict.Message, LastTransitionTime: metav1.NewTime(r.now()),
	}
	if verdict.Replicated {
		condition.Status = metav1.ConditionTrue
	}
	return r.client.ApplyCellCondition(ctx, name, fieldManager, condition)
}
