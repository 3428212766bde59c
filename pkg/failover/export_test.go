package failover

import (
	"context"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// Ways are those of one report.
func Ways(access map[string]federation.Access) func(cell string) (*migration.Cell, error) {
	return newWays(access).to
}

// Carry is how whoever gives a cell up names what calls before have kept.
func Carry(record, found *v1alpha1.FailoverStatus) { carry(record, found) }

// SayFrozen is how every part of a failover says what has become of the freeze of a cell.
func SayFrozen(ctx context.Context, c *client.Client, cell string, state Frozen) error {
	return sayFrozen(ctx, c, cell, state)
}
