package failover

import (
	"context"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/pause"
)

// Attend takes over runs that nobody drives, until ctx ends. It is what a backup daemon does. A run is taken over when
// the one who drove it gave the Lease up or has not renewed it for its duration; one that nobody has driven yet after that
// duration as well.
func (d *Driver) Attend(ctx context.Context) error {
	if d.LeaseDuration == 0 {
		d.LeaseDuration = lease.DefaultDuration
	}
	c, err := connect(d.RCP)
	if err != nil {
		return err
	}
	for {
		run, err := d.abandoned(ctx, c)
		if err == nil && run != nil {
			d.Logger.Info("taking a failover over", "failover", run.Name, "cell", run.Spec.Cell)
			_, err = d.Run(ctx, run.Name)
		}
		if err != nil && ctx.Err() == nil {
			d.Logger.Warn("cannot attend to failovers, trying again", "err", err)
		}
		if pause.For(ctx, d.LeaseDuration/5) != nil {
			return nil
		}
	}
}

// abandoned is a run that nobody drives, nil where there is none.
func (d *Driver) abandoned(ctx context.Context, c *connection) (*v1alpha1.Failover, error) {
	run, err := Unfinished(ctx, c.client)
	if err != nil || run == nil {
		return nil, err
	}
	holder, err := lease.Holder(ctx, c.kube, v1alpha1.FailoverLease, c.clock.Now)
	if err != nil || holder != "" {
		return nil, err
	}
	if run.Status.Driver == "" && c.clock.Since(run.CreationTimestamp.Time) < d.LeaseDuration {
		return nil, nil // whoever ordered it is about to drive it
	}
	return run, nil
}

// ReasonHeldByAnother is the reason of the condition Driven of a run that waits for the Lease. It is in no record: that is
// written by whoever drives the run.
const ReasonHeldByAnother = "HeldByAnother"

// waitsFor tells who holds the Lease that a run is about to wait for, if that can be found out.
func (c *connection) waitsFor(ctx context.Context, identity, run string, tell func(*v1alpha1.Failover)) {
	if tell == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	holder, err := lease.Holder(ctx, c.kube, v1alpha1.FailoverLease, c.clock.Now)
	if err != nil || holder == "" || holder == identity {
		return
	}
	record, err := c.client.Failovers().Get(ctx, run, metav1.GetOptions{})
	if err != nil {
		return
	}
	apimeta.SetStatusCondition(&record.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionDriven, Status: metav1.ConditionFalse, Reason: ReasonHeldByAnother,
		Message: "waiting for " + holder + ", who holds the Lease " + v1alpha1.FailoverLease,
	})
	tell(record)
}
