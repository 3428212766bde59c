// Package lease lets one process at a time carry a run out: the one that holds a Lease in kubecell-system of the RCP.
//
// Not promised: that a holder which was cut off has stopped when the next one begins. It stops within the Lease's
// duration; whoever works under a Lease writes under preconditions.
package lease

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

// DefaultDuration is how long others wait for a holder that is silent.
const DefaultDuration = 15 * time.Second

// ErrLost ends the work of a holder that could not renew the Lease, or from whom it was taken.
var ErrLost = errors.New("the lease was lost")

// Config says which Lease, and who wants it.
type Config struct {
	Kube kubernetes.Interface
	// Name of the Lease, and Identity of who wants it.
	Name, Identity string
	// Duration is how long others wait for a holder that is silent. Work ends after two thirds of it without a
	// renewal.
	Duration time.Duration
	// Leaving, once closed, ends the wait with nil work done and ErrLeft; nil for never.
	Leaving <-chan struct{}
	// Holder is told who holds the Lease, each time it is somebody else; nil for nobody.
	Holder func(identity string)
}

// ErrLeft says that Leaving was closed before the Lease was held.
var ErrLeft = errors.New("left")

// Hold waits until the Lease is held and works until the work, the Lease or ctx ends. The Lease is given up after the
// work has ended. It returns [ErrLost] where the Lease ended first.
func Hold(ctx context.Context, config Config, work func(context.Context) error) error {
	began := make(chan context.Context, 1)
	elector, err := config.elector(began)
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
	err = ErrLost
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-config.Leaving:
		err = ErrLeft
	case <-ended:
	case held := <-began:
		working, stop := context.WithCancelCause(held)
		defer stop(nil)
		defer context.AfterFunc(held, func() { stop(ErrLost) })()
		defer context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })()
		if err = work(working); err != nil && held.Err() != nil {
			err = ErrLost
		}
	}
	giveUp()
	<-ended
	return err
}

// elector sends on began, once the Lease is held, the context that ends with the Lease.
func (c Config) elector(began chan<- context.Context) (*leaderelection.LeaderElector, error) {
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, v1alpha1.Namespace, c.Name,
		c.Kube.CoreV1(), c.Kube.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: c.Identity})
	if err != nil {
		return nil, fmt.Errorf("make lease: %w", err)
	}
	tell := c.Holder
	if tell == nil {
		tell = func(string) {}
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, Name: c.Name, ReleaseOnCancel: true,
		// 15 s, 10 s and 3 s: others wait for so long, work ends after so long without a renewal, and a
		// renewal is tried so often.
		LeaseDuration: c.Duration, RenewDeadline: c.Duration * 2 / 3, RetryPeriod: c.Duration / 5,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { began <- ctx },
			OnStoppedLeading: func() {},
			OnNewLeader:      tell,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("set up the lease: %w", err)
	}
	return elector, nil
}

// Holder is who holds a Lease, empty for nobody: it was given up, or not renewed for its duration.
func Holder(ctx context.Context, kube kubernetes.Interface, name string, now time.Time) (string, error) {
	lease, err := kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read lease %s: %w", name, err)
	}
	s := lease.Spec
	if s.HolderIdentity == nil || s.RenewTime == nil || s.LeaseDurationSeconds == nil ||
		now.Sub(s.RenewTime.Time) > time.Duration(*s.LeaseDurationSeconds)*time.Second {
		return "", nil
	}
	return *s.HolderIdentity, nil
}
