package status

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
)

// backupFindings reads the Lease of the backup daemon. Without the right to there is nothing to say.
func backupFindings(ctx context.Context, kube kubernetes.Interface, program string, now time.Time) ([]Finding, error) {
	lease, err := kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(ctx, backup.LeaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil, nil
	case apierrors.IsNotFound(err):
		lease = &coordinationv1.Lease{}
	case err != nil:
		return nil, fmt.Errorf("read lease of the backup daemon: %w", err)
	}
	return findBackup(program, lease, now), nil
}

// findBackup judges whether some daemon works. It is pure.
func findBackup(program string, lease *coordinationv1.Lease, now time.Time) []Finding {
	renewed := lease.Spec.RenewTime
	if command.LeaseHeld(lease, now) {
		return nil
	}
	message := "no backup daemon runs"
	if renewed != nil {
		message += ": the last sign of one was " + duration.HumanDuration(now.Sub(renewed.Time)) + " ago"
	}
	return []Finding{{
		Message: message + "; copies in the cells are not repaired, and deleted namespaces do not go",
		Next:    program + " backup start --rcp-kubeconfig FILE",
	}}
}
