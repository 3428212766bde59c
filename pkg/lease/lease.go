// Package lease lets one process at a time carry a run out: the one that holds a Lease in kubecell-system of the RCP.
//
// Not promised: that a holder which was cut off has stopped when the next one begins. It stops within the Lease's
// duration, or, where its process was suspended, within a fifteenth of that after it goes on. [Guard], which the clients of
// the RCP and of cells have, refuses its requests from the end of that duration; one that was on its way to the network when
// the process was suspended arrives, so that whoever works under a Lease writes under preconditions.
package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	// Duration is how long others wait for a holder that is silent. Work ends once a renewal was tried for two thirds of
	// it.
	Duration time.Duration
	// Leaving, once closed, ends the wait with nil work done and ErrLeft; nil for never.
	Leaving <-chan struct{}
	// Holder is told who holds the Lease, each time it is somebody else; nil for nobody.
	Holder func(identity string)
}

// ErrLeft says that Leaving was closed before the Lease was held.
var ErrLeft = errors.New("left")

// Hold waits until the Lease is held and works until the work, the Lease or ctx ends. The Lease is given up after the
// work has ended. It returns [ErrLost] where the Lease ended first: it could not be renewed, somebody else took it, or it was
// not renewed for its duration, so that somebody else may have. The error of the last renewal is in it, if that failed.
func Hold(ctx context.Context, config Config, work func(context.Context) error) error {
	began := make(chan context.Context, 1)
	elector, held, err := config.elector(began)
	if err != nil {
		return err
	}
	holding, renewNoMore := context.WithCancel(context.WithoutCancel(ctx))
	defer renewNoMore()
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
	case leading := <-began:
		// Not one of leading's own, whose end would be its cause before the one below is.
		working, stop := context.WithCancelCause(context.WithValue(context.WithoutCancel(leading), termKey{}, held))
		defer stop(nil)
		lost := func() { stop(ErrLost) }
		defer context.AfterFunc(leading, lost)()
		defer context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })()
		go held.watch(working, lost) // ends with working
		if err = work(working); err != nil && (leading.Err() != nil || errors.Is(context.Cause(working), ErrLost)) {
			err = ErrLost
		}
	}
	renewNoMore()
	<-ended
	held.giveUp(ctx)
	if errors.Is(err, ErrLost) {
		return held.loss()
	}
	return err
}

// elector sends on began, once the Lease is held, the context that ends when it is not renewed. The term ends with the Lease.
func (c Config) elector(began chan<- context.Context) (*leaderelection.LeaderElector, *term, error) {
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, v1alpha1.Namespace, c.Name,
		c.Kube.CoreV1(), c.Kube.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: c.Identity})
	if err != nil {
		return nil, nil, fmt.Errorf("make lease: %w", err)
	}
	held := &term{
		Interface: lock, leases: c.Kube.CoordinationV1().Leases(v1alpha1.Namespace), name: c.Name,
		duration: c.Duration, over: make(chan struct{}),
	}
	tell := c.Holder
	if tell == nil {
		tell = func(string) {}
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: held, Name: c.Name, // it is given up by Hold, once the work has ended
		// 15 s, 10 s and 3 s: others wait for so long, work ends when a renewal was tried for so long, and one is tried
		// so often.
		LeaseDuration: c.Duration, RenewDeadline: c.Duration * 2 / 3, RetryPeriod: c.Duration / 5,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { began <- ctx },
			OnStoppedLeading: func() {},
			OnNewLeader:      tell,
		},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("set up the lease: %w", err)
	}
	return elector, held, nil
}
