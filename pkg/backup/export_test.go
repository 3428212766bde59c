package backup

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/replication"
)

// Work is what the holder of the Lease does, until ctx ends.
func Work(ctx context.Context, config Config, registry prometheus.Registerer) error {
	return work(ctx, config, &metrics{replication: replication.NewMetrics(registry), mirror: mirror.NewMetrics(registry)})
}
