package failover

import (
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// Ways are those of one report.
func Ways(access map[string]federation.Access) func(cell string) (*migration.Cell, error) {
	return newWays(access).to
}
