package command

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/lease"
)

// BackupDaemonRuns says whether some backup daemon works. Without the right to read its Lease nobody knows,
// and the answer is no.
func BackupDaemonRuns(ctx context.Context, fed *Federation) (bool, error) {
	l, err := fed.Kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(ctx, backup.LeaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read lease of the backup daemon: %w", err)
	}
	return lease.Held(l, fed.Clock.Now()), nil
}
