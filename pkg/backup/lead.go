package backup

import (
	"cmp"
	"context"
	"errors"

	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/lease"
)

// lead waits until this daemon holds the Lease and then works until the work, the Lease or ctx ends.
// The Lease is given up after the work has ended, so that two never work because of an orderly end.
func lead(ctx context.Context, config Config, kube kubernetes.Interface, work func(context.Context)) error {
	err := lease.Hold(ctx, lease.Config{
		Kube: kube, Name: LeaseName, Identity: config.Identity, Duration: cmp.Or(config.LeaseDuration, defaultLease),
		Holder: func(identity string) {
			config.Logger.Info("the lease has a holder", "lease", LeaseName, "holder", identity, "self", identity == config.Identity)
		},
	}, func(held context.Context) error {
		work(held)
		return context.Cause(held)
	})
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, lease.ErrLost):
		config.Logger.Warn("this daemon does not work any more, and tries to again", "lease", LeaseName, "err", err)
		return nil
	}
	return err
}
