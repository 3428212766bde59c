package rebalance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

const (
	defaultLease = 15 * time.Second
	// defaultPatience is how long a unit may fail for a reason that may pass before it counts as failed.
	defaultPatience = 10 * time.Minute
)

// Driver carries runs out, one at a time. It keeps nothing between two calls of Run.
type Driver struct {
	// RCP is the client configuration for the router control plane.
	RCP *rest.Config
	// Identity tells this driver from others, in the Lease and in the status, such as you@bastion.
	Identity string
	// LeaseDuration is how long others wait for a driver that is silent; 15 s where zero.
	LeaseDuration time.Duration
	// Patience is how long a unit may fail for a reason that may pass by itself before it counts against
	// maxFailures; 10 minutes where zero.
	Patience time.Duration
	// Tell is told what happens, one event at a time. It must not block for long. nil for nobody.
	Tell func(Event)
	// Settle returns when what has to be complete before the old ring is forgotten is complete. It may be
	// called again for the same ring. nil for nothing.
	Settle func(ctx context.Context, ring *v1alpha1.Ring) error
	// Leaving, once closed, lets the units in flight finish, begins no others, and gives the run up: Run
	// returns ErrLeft. nil for never.
	Leaving <-chan struct{}
	// Step and UnitStep are told of each step, in the goroutine that took it; nil for nobody.
	Step     func(StepName)
	UnitStep func(migration.Step)
	// WrapCell changes the way to a cell; nil for not.
	WrapCell func(name string, config *rest.Config)
	Logger   *slog.Logger

	voice  *narrator
	active string       // the run
	rcp    *lease.Clock // of the RCP
}

// Run carries a run out, from wherever it stands, and returns it as it ended. While somebody else drives it
// waits, and takes over when that one is gone; it returns also when that one has brought the run to its end.
//
// It goes on for as long as it takes: what does not answer is asked again, and what the run waits for is in
// its conditions. When ctx ends the units in flight that have not moved are opened to writes again, as far as
// their cells answer, and those that are half moved are left to the next driver; to have them finished, close Leaving before. Errors that a person has to do something about are *exit.Error.
func (d *Driver) Run(ctx context.Context, name string) (*v1alpha1.Rebalance, error) {
	if d.LeaseDuration == 0 {
		d.LeaseDuration = defaultLease
	}
	if d.Patience == 0 {
		d.Patience = defaultPatience
	}
	config := rest.CopyConfig(d.RCP)
	config.QPS, config.Burst = -1, -1
	d.rcp = &lease.Clock{}
	config.Wrap(d.rcp.Watch)
	kube, kubecell, err := client.Connect(config)
	if err != nil {
		return nil, err
	}
	d.voice, d.active = &narrator{tell: d.Tell}, name
	return d.untilEnd(ctx, kube, kubecell, name)
}

// untilEnd drives, or waits for whoever does, until the run has ended.
func (d *Driver) untilEnd(ctx context.Context, kube kubernetes.Interface, kubecell *client.Client, name string) (*v1alpha1.Rebalance, error) {
	for {
		waiting, stop := context.WithCancelCause(ctx)
		driving := make(chan struct{})
		var ended *v1alpha1.Rebalance
		var watching sync.WaitGroup
		watching.Go(func() { ended = d.watchOthers(waiting, kubecell, name, driving, stop) })
		err := d.hold(waiting, kube, func(held context.Context) error {
			close(driving)
			return d.drive(held, kube, kubecell, name)
		})
		stop(nil)
		watching.Wait()
		var final *exit.Error
		switch {
		case err == nil:
			return kubecell.Rebalances().Get(ctx, name, metav1.GetOptions{})
		case errors.Is(err, ErrLeft):
			return nil, ErrLeft
		case ended != nil:
			return ended, nil
		case errors.As(err, &final):
			return nil, final
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		d.Logger.Warn("not driving the rebalance any more, trying again", "rebalance", name, "err", err)
		d.voice.add(Event{Type: EventDriver, Run: name, Message: interruption(err)})
		select {
		case <-ctx.Done():
		case <-d.Leaving:
		case <-time.After(d.LeaseDuration / 15):
		}
	}
}

// interruption says why this driver does not drive for a while.
func interruption(err error) string {
	var answer apierrors.APIStatus
	if errors.Is(err, lease.ErrLost) && errors.As(err, &answer) && (apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)) {
		return fmt.Sprintf("this driver has lost its lease: the router control plane refuses it (%s); it goes on when it is let in again: "+
			"kubectl auth can-i update leases -n %s ; the cluster role kubecell-admin allows it", answer.Status().Message, v1alpha1.Namespace)
	}
	if errors.Is(err, lease.ErrLost) {
		return "this driver has lost its lease: the router control plane does not answer, or somebody else drives; it goes on when it can"
	}
	return fmt.Sprintf("this driver cannot go on, and tries again: %v", err)
}

// watchOthers returns the run, and stops the wait for the Lease, when another driver has brought it to its
// end. It gives up once this one drives.
func (d *Driver) watchOthers(ctx context.Context, c *client.Client, name string, driving <-chan struct{}, stop context.CancelCauseFunc) *v1alpha1.Rebalance {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-driving:
			cancel()
		case <-ctx.Done():
		}
	}()
	var last *v1alpha1.Rebalance
	err := follow(ctx, c, name, func(run *v1alpha1.Rebalance) bool {
		last = run
		return !run.Status.Phase.Final()
	})
	if err == nil && last.Status.Phase.Final() {
		stop(errors.New("the run has ended"))
		return last
	}
	var final *exit.Error
	if errors.As(err, &final) {
		stop(final)
	}
	return nil
}

// waitingFor tells who holds the Lease.
func (d *Driver) waitingFor(holder string) {
	if holder != d.Identity {
		d.voice.add(Event{Type: EventDriver, Run: d.active, Driver: holder})
	}
}

// deleted is the error for a run that is not there; nil where err is another one, or none.
func deleted(name string, err error) error {
	if !apierrors.IsNotFound(err) {
		return nil
	}
	return exit.Errorf(exit.Failure, "there is no rebalance %s", name).WithHint("kubectl cell history")
}

func (d *Driver) step(name StepName) {
	if d.Step != nil {
		d.Step(name)
	}
}
