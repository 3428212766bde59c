package rebalance

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// errLeaseLost ends the work of a driver that could not renew the Lease, or from whom it was taken.
var errLeaseLost = errors.New("the lease of the rebalance was lost")

// hold waits until this driver holds the Lease and works until the work, the Lease or ctx ends. The Lease
// is given up after the work has ended. It returns errLeaseLost where the Lease ended first.
func (d *Driver) hold(ctx context.Context, kube kubernetes.Interface, work func(context.Context) error) error {
	began := make(chan context.Context, 1)
	elector, err := d.elector(kube, began)
	if err != nil {
		return err
	}
	holding, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// What it has to say is told by events.
		elector.Run(klog.NewContext(holding, klog.Logger{}))
	}()
	err = errLeaseLost
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-d.Leaving:
		err = ErrLeft
	case <-ended:
	case held := <-began:
		working, stop := context.WithCancelCause(held)
		defer stop(nil)
		defer context.AfterFunc(held, func() { stop(errLeaseLost) })()
		defer context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })()
		if err = work(working); err != nil && held.Err() != nil {
			err = errLeaseLost
		}
	}
	giveUp()
	<-ended
	return err
}

// elector sends on began, once the Lease is held, the context that ends with the Lease.
func (d *Driver) elector(kube kubernetes.Interface, began chan<- context.Context) (*leaderelection.LeaderElector, error) {
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, v1alpha1.Namespace, v1alpha1.RebalanceLease,
		kube.CoreV1(), kube.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: d.Identity})
	if err != nil {
		return nil, fmt.Errorf("make lease: %w", err)
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, Name: v1alpha1.RebalanceLease, ReleaseOnCancel: true,
		// 15 s, 10 s and 3 s: others wait for so long, work ends after so long without a renewal, and a
		// renewal is tried so often.
		LeaseDuration: d.LeaseDuration, RenewDeadline: d.LeaseDuration * 2 / 3, RetryPeriod: d.LeaseDuration / 5,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { began <- ctx },
			OnStoppedLeading: func() {},
			OnNewLeader:      d.waitingFor,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("set up the lease: %w", err)
	}
	return elector, nil
}

// Holder is who drives, empty for nobody: the Lease was given up, or not renewed for its duration.
func Holder(ctx context.Context, kube kubernetes.Interface, now time.Time) (string, error) {
	lease, err := kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(ctx, v1alpha1.RebalanceLease, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the lease of the rebalance: %w", err)
	}
	s := lease.Spec
	if s.HolderIdentity == nil || s.RenewTime == nil || s.LeaseDurationSeconds == nil ||
		now.Sub(s.RenewTime.Time) > time.Duration(*s.LeaseDurationSeconds)*time.Second {
		return "", nil
	}
	return *s.HolderIdentity, nil
}
