package backup

import (
	"context"
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// lead waits until this daemon holds the Lease and then works until the work, the Lease or ctx ends.
// The Lease is given up after the work has ended, so that two never work because of an orderly end.
func lead(ctx context.Context, config Config, kube kubernetes.Interface, work func(context.Context)) error {
	began := make(chan context.Context, 1)
	elector, err := newElector(config, kube, began)
	if err != nil {
		return err
	}
	holding, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		elector.Run(holding)
	}()
	select {
	case <-ctx.Done():
	case <-ended:
	case held := <-began:
		working, stop := context.WithCancel(held)
		defer stop()
		defer context.AfterFunc(ctx, stop)()
		work(working)
	}
	giveUp()
	<-ended
	return nil
}

// newElector sends on began, once the Lease is held, the context that ends with the Lease.
func newElector(config Config, kube kubernetes.Interface, began chan<- context.Context) (*leaderelection.LeaderElector, error) {
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, v1alpha1.Namespace, LeaseName,
		kube.CoreV1(), kube.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: config.Identity})
	if err != nil {
		return nil, fmt.Errorf("make lease: %w", err)
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, Name: LeaseName, ReleaseOnCancel: true,
		// The proportions of Kubernetes' own controllers: 15 s, 10 s, 2 s.
		LeaseDuration: config.LeaseDuration,
		RenewDeadline: config.LeaseDuration * 2 / 3,
		RetryPeriod:   config.LeaseDuration * 2 / 15,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { began <- ctx },
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				config.Logger.Info("the lease has a holder", "lease", LeaseName, "holder", identity, "self", identity == config.Identity)
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("set up the election: %w", err)
	}
	return elector, nil
}
