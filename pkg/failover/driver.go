package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/pause"
)

// again is the pause before something that did not answer is asked again.
const again = time.Second

// Driver carries runs out, one at a time. It keeps nothing between two calls of Run.
type Driver struct {
	// RCP is the client configuration for the router control plane.
	RCP *rest.Config
	// Identity tells this driver from others, such as you@bastion.
	Identity string
	// LeaseDuration is how long others wait for a driver that is silent; 15 s where zero.
	LeaseDuration time.Duration
	// Tell is told the run's status at each change, one at a time; nil for nobody.
	Tell func(*v1alpha1.Failover)
	// Step is told of each step once it was written, in the goroutine that took it; nil for nobody.
	Step func(StepName)
	// WrapCell changes the way to a cell; nil for not.
	WrapCell func(name string, config *rest.Config)
	// CatchUp is how long the backup of a cell that still answers gets to come level after the fence; 15 s where zero.
	CatchUp time.Duration
	// DrillPatience is how long a drill waits for routers to acknowledge; 45 s where zero.
	DrillPatience time.Duration
	// Parallel is how many envelopes are promoted at once; 32 where zero.
	Parallel int
	Logger   *slog.Logger
}

// StepName is a step of the package documentation, as it stands in the status of a run.
type StepName string

// The steps, in the order in which they are taken.
const (
	StepPreflight StepName = "preflight"
	StepFence     StepName = "fence"
	StepFreeze    StepName = "freeze"
	StepRing      StepName = "ring"
	StepPromote   StepName = "promote"
	StepEnd       StepName = "end"
)

// Run carries a run out, from wherever it stands, and returns it as it ended. While somebody else drives it waits, and
// takes over when that one is gone.
//
// It goes on for as long as it takes: what does not answer is asked again, and what the run waits for is in its
// conditions. Errors that a person has to do something about are *exit.Error.
func (d *Driver) Run(ctx context.Context, name string) (*v1alpha1.Failover, error) {
	if d.LeaseDuration == 0 {
		d.LeaseDuration = lease.DefaultDuration
	}
	if d.Parallel == 0 {
		d.Parallel = 32
	}
	if d.CatchUp == 0 {
		d.CatchUp = catchUp
	}
	if d.DrillPatience == 0 {
		d.DrillPatience = silentAfter
	}
	c, err := connect(d.RCP)
	if err != nil {
		return nil, err
	}
	for {
		c.waitsFor(ctx, d.Identity, name, d.Tell)
		err := lease.Hold(ctx, lease.Config{
			Kube: c.kube, Name: v1alpha1.FailoverLease, Identity: d.Identity, Duration: d.LeaseDuration,
		}, func(held context.Context) error { return d.drive(held, c, name) })
		var final *exit.Error
		switch {
		case err == nil:
			return c.client.Failovers().Get(ctx, name, metav1.GetOptions{})
		case errors.As(err, &final):
			return nil, final
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		if errors.Is(err, errYield) {
			if err := pause.For(ctx, d.LeaseDuration/5); err != nil {
				return nil, err
			}
			continue
		}
		d.Logger.Warn("not driving the failover any more, trying again", "failover", name, "err", err)
		if err := pause.For(ctx, again); err != nil {
			return nil, err
		}
	}
}

// drive brings the run to its end while the Lease is held.
func (d *Driver) drive(ctx context.Context, c *connection, name string) error {
	record, err := c.client.Failovers().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return exit.Errorf(exit.Failure, "there is no failover %s", name).WithHint("kubectl cell history")
	case err != nil:
		return fmt.Errorf("read failover %s: %w", name, err)
	case record.Status.Phase.Final():
		return nil
	}
	r, err := newRun(d, c, record)
	if err != nil {
		return err
	}
	return r.attended(ctx)
}

func (d *Driver) step(name StepName) {
	if d.Step != nil {
		d.Step(name)
	}
}
