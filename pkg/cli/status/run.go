package status

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// Run is the rebalance that has not ended.
type Run struct {
	Name  string                  `json:"name"`
	Phase v1alpha1.RebalancePhase `json:"phase"`
	// Driver is who drives, empty for nobody.
	Driver string `json:"driver"`
	Moved  int64  `json:"moved"`
	Total  int64  `json:"total"`
	Failed int64  `json:"failed"`
}

// Line is the run as people read it.
func (r *Run) Line() string {
	return fmt.Sprintf("rebalance %s   %s   %s of %s moved   failed %s   %s", r.Name, r.Phase,
		printers.Count(r.Moved), printers.Count(r.Total), printers.Count(r.Failed), driven(r.Driver))
}

// driven says who drives.
func driven(driver string) string {
	if driver == "" {
		return "nobody drives"
	}
	return "driver " + driver
}

// addRun looks for a rebalance that has not ended, and whether it needs somebody.
func (d *Data) addRun(ctx context.Context, env *command.Env, fed *command.Federation, ring *v1alpha1.Ring) error {
	run, err := rebalance.Unfinished(ctx, fed.Cell)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if run == nil {
		if ring.Status.Phase != v1alpha1.RingStable && ring.Status.Rebalance != "" {
			d.Findings = append(d.Findings, Finding{
				Message: fmt.Sprintf("the ring is in the middle of rebalance %s, whose record was deleted", ring.Status.Rebalance),
				Next:    env.Program + " rebalance   # makes it anew and goes on",
			})
		}
		return nil
	}
	holder, err := fed.Holder(ctx, v1alpha1.RebalanceLease, run.Status.Driver)
	if err != nil {
		return err
	}
	progress := rebalance.ProgressOf(&run.Status)
	d.Rebalance = &Run{
		Name: run.Name, Phase: run.Status.Phase, Driver: holder, Moved: progress.Moved, Total: progress.Total, Failed: progress.Failed,
	}
	if d.Rebalance.Phase == "" {
		d.Rebalance.Phase = v1alpha1.RebalancePending
	}
	switch {
	case run.Spec.Paused:
		d.Findings = append(d.Findings, Finding{Message: "rebalance " + run.Name + " is paused", Next: env.Program + " rebalance resume"})
	case holder == "":
		d.Findings = append(d.Findings, Finding{Message: "nobody drives rebalance " + run.Name, Next: env.Program + " rebalance"})
	case progress.Failed > 0:
		d.Findings = append(d.Findings, Finding{
			Message: fmt.Sprintf("%d units failed in rebalance %s", progress.Failed, run.Name), Next: env.Program + " rebalance status",
		})
	}
	return nil
}
