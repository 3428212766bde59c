package rebalance

import (
	"context"
	"errors"

	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/lease"
)

// hold waits until this driver holds the Lease and works until the work, the Lease or ctx ends.
func (d *Driver) hold(ctx context.Context, kube kubernetes.Interface, work func(context.Context) error) error {
	err := lease.Hold(ctx, lease.Config{
		Kube: kube, Name: v1alpha1.RebalanceLease, Identity: d.Identity, Duration: d.LeaseDuration,
		Leaving: d.Leaving, Holder: d.waitingFor,
	}, work)
	if errors.Is(err, lease.ErrLeft) {
		return ErrLeft
	}
	return err
}

// Holder is who drives, empty for nobody: the Lease was given up, or not renewed for its duration.
func Holder(ctx context.Context, kube kubernetes.Interface, now func() lease.Moment) (string, error) {
	return lease.Holder(ctx, kube, v1alpha1.RebalanceLease, now)
}
