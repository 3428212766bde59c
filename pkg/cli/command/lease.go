package command

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
)

// LeaseHeld says whether somebody holds a Lease: it has a holder who renewed it within its duration.
func LeaseHeld(lease *coordinationv1.Lease, now time.Time) bool {
	renewed, holder, seconds := lease.Spec.RenewTime, lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds
	return renewed != nil && holder != nil && *holder != "" && seconds != nil &&
		!now.After(renewed.Add(time.Duration(*seconds)*time.Second))
}

// BackupDaemonRuns says whether some backup daemon works. Without the right to read its Lease nobody knows,
// and the answer is no.
func BackupDaemonRuns(ctx context.Context, kube kubernetes.Interface, now time.Time) (bool, error) {
	lease, err := kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(ctx, backup.LeaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read lease of the backup daemon: %w", err)
	}
	return LeaseHeld(lease, now), nil
}
