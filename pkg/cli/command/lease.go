package command

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/lease"
)

// Holder is who holds a Lease, empty for nobody. Without the right to read it, it is who is recorded elsewhere.
func (f *Federation) Holder(ctx context.Context, name, recorded string) (string, error) {
	holder, err := lease.Holder(ctx, f.Kube, name, f.Clock.Now)
	if apierrors.IsForbidden(err) {
		return recorded, nil
	}
	return holder, err
}

// BackupDaemonRuns says whether some backup daemon works. Without the right to read its Lease nobody knows,
// and the answer is no.
func BackupDaemonRuns(ctx context.Context, fed *Federation) (bool, error) {
	holder, err := fed.Holder(ctx, backup.LeaseName, "")
	return holder != "", err
}
