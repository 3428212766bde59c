package rebalance

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/pause"
)

// buryEvery is how often tombstones are looked for.
const buryEvery = time.Minute

// buryAgain is when that is tried again where it failed.
const buryAgain = 10 * time.Second

// Attend takes over runs that nobody drives, and deletes tombstones whose grace has ended, until ctx ends.
// It is what a backup daemon does.
//
// A run is taken over when the one who drove it gave the Lease up or has not renewed it for its duration; one
// that nobody has driven yet after that duration as well, or at once where it says that nobody is going to.
func (d *Driver) Attend(ctx context.Context) error {
	if d.LeaseDuration == 0 {
		d.LeaseDuration = defaultLease
	}
	rcp, config := &lease.Clock{}, rest.CopyConfig(d.RCP)
	config.Wrap(rcp.Watch)
	kube, c, err := client.Connect(config)
	if err != nil {
		return err
	}
	look := time.NewTicker(d.LeaseDuration / 5)
	defer look.Stop()
	var burying sync.WaitGroup
	burying.Go(func() { d.bury(ctx) }) // ends with ctx
	defer burying.Wait()
	for {
		run, err := d.abandoned(ctx, c, kube, rcp)
		if err == nil && run != nil {
			d.Logger.Info("taking a rebalance over", "rebalance", run.Name)
			_, err = d.Run(ctx, run.Name)
		}
		if err != nil && ctx.Err() == nil {
			d.Logger.Warn("cannot attend to rebalances, trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

// bury deletes tombstones whose grace has ended, again and again until ctx ends. It goes on beside the runs that are attended
// to, which must not wait for a cell that takes its time.
func (d *Driver) bury(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := Bury(ctx, d.RCP, clock.RealClock{})
		if n > 0 {
			d.Logger.Info("deleted tombstones", "objects", n)
		}
		wait := buryEvery
		if err != nil && ctx.Err() == nil {
			d.Logger.Warn("cannot delete tombstones, trying again", "err", err)
			wait = buryAgain
		}
		_ = pause.For(ctx, wait)
	}
}

// abandoned is a run that nobody drives, nil where there is none.
func (d *Driver) abandoned(ctx context.Context, c *client.Client, kube kubernetes.Interface, rcp *lease.Clock) (*v1alpha1.Rebalance, error) {
	run, err := Unfinished(ctx, c)
	if err != nil || run == nil {
		return nil, err
	}
	holder, err := Holder(ctx, kube, rcp.Now)
	if err != nil || holder != "" {
		return nil, err
	}
	expected := run.Annotations[v1alpha1.AnnotationDetached] == "" && run.Status.Driver == ""
	if expected && rcp.Since(run.CreationTimestamp.Time) < d.LeaseDuration {
		return nil, nil
	}
	return run, nil
}
