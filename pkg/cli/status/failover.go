package status

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// FailoverRun is the failover that has not ended.
type FailoverRun struct {
	Name  string                 `json:"name"`
	Cell  string                 `json:"cell"`
	Drill bool                   `json:"drill,omitempty"`
	Phase v1alpha1.FailoverPhase `json:"phase"`
	// Step that is being taken, empty before the first and between two.
	Step string `json:"step,omitempty"`
	// Driver is who drives, empty for nobody.
	Driver string `json:"driver"`
	// Promoted of Total envelopes are objects again.
	Promoted int64 `json:"promoted"`
	Total    int64 `json:"total"`
}

// Line is the run as people read it.
func (r *FailoverRun) Line() string {
	what := "failover"
	if r.Drill {
		what = "failover drill"
	}
	doing := string(r.Phase)
	if r.Step != "" {
		doing += ": " + r.Step
	}
	return fmt.Sprintf("%s %s of %s   %s   %s of %s promoted   %s", what, r.Name, r.Cell, doing,
		printers.Count(r.Promoted), printers.Count(r.Total), driven(r.Driver))
}

func newFailoverRun(run *v1alpha1.Failover, driver string) *FailoverRun {
	r := &FailoverRun{Name: run.Name, Cell: run.Spec.Cell, Drill: run.Spec.Drill, Phase: run.Status.Phase, Driver: driver}
	if r.Phase == "" {
		r.Phase = v1alpha1.FailoverPending
	}
	for _, step := range run.Status.Steps {
		if step.StartTime != nil && step.CompletionTime == nil {
			r.Step = step.Name
		}
	}
	for _, cell := range run.Status.Cells {
		r.Promoted += cell.Promoted
		r.Total += cell.Total
	}
	return r
}

// addFailover looks for a failover that has not ended, and whether somebody drives it.
func (d *Data) addFailover(ctx context.Context, env *command.Env, fed *command.Federation) error {
	run, err := failover.Unfinished(ctx, fed.Cell)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil // whoever may not read them is shown the rest
	}
	if err != nil || run == nil {
		return err
	}
	holder, err := fed.Holder(ctx, v1alpha1.FailoverLease, run.Status.Driver)
	if err != nil {
		return err
	}
	d.Failover = newFailoverRun(run, holder)
	if holder == "" {
		d.Findings = append(d.Findings, Finding{
			Cell: run.Spec.Cell, Message: fmt.Sprintf("nobody drives failover %s of %s", run.Name, run.Spec.Cell),
			Next: fmt.Sprintf("%s failover %s   # goes on with it", env.Program, run.Spec.Cell),
		})
	}
	return nil
}
