package status

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// backupFindings reads the Lease of the backup daemon. Without the right to there is nothing to say.
func backupFindings(ctx context.Context, fed *command.Federation, program string) ([]Finding, error) {
	held, err := fed.Kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(ctx, backup.LeaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil, nil
	case apierrors.IsNotFound(err):
		held = &coordinationv1.Lease{}
	case err != nil:
		return nil, fmt.Errorf("read lease of the backup daemon: %w", err)
	}
	return findBackup(program, held, fed.Clock.Now()), nil
}

// findBackup judges whether some daemon works. It is pure.
func findBackup(program string, held *coordinationv1.Lease, now lease.Moment) []Finding {
	renewal := lease.RenewalOf(held)
	if renewal.Alive(now) {
		return nil
	}
	message := "no backup daemon runs"
	if !renewal.Renewed.IsZero() {
		message += ": the last sign of one was " + printers.Age(renewal.Silence(now)) + " ago"
	}
	return []Finding{{
		Message: message + "; copies in the cells are not repaired, and deleted namespaces do not go",
		Next:    program + " backup start --rcp-kubeconfig FILE",
	}}
}
