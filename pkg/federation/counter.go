package federation

import (
	"context"
	"errors"
	"iter"

	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// Counter is all that a census of one federation needs.
type Counter struct {
	// Cells by name; those without a Config are reported by Units as missing.
	Cells     map[string]Access
	Resources []Resource
	Snapshot  *routing.Snapshot
}

// NewCensus reads cells and resources from the RCP. It asks no cell yet.
func NewCensus(ctx context.Context, rcp *rest.Config, ring *v1alpha1.Ring) (*Counter, error) {
	snap, err := routing.FromRing(ring)
	if err != nil {
		return nil, err
	}
	cells, err := Cells(ctx, rcp)
	if err != nil {
		return nil, err
	}
	resources, err := ShardedResources(rcp, snap.Classes)
	if err != nil {
		return nil, err
	}
	return &Counter{Cells: cells, Resources: resources, Snapshot: snap}, nil
}

// Units is [Census] of the cells that the snapshot places anything in. One without credentials, or
// that is no Cell at all, is a *CellError like one that does not answer.
func (c *Counter) Units(ctx context.Context, options CensusOptions) iter.Seq2[Unit, error] {
	return func(yield func(Unit, error) bool) {
		configs := map[string]*rest.Config{}
		for _, name := range c.Snapshot.Table.Cells() {
			access, known := c.Cells[name]
			switch {
			case c.Snapshot.Unavailable[name]:
				continue
			case !known:
				access.Err = errors.New("is in the ring, but there is no such Cell")
				fallthrough
			case access.Err != nil:
				if !yield(Unit{}, &CellError{Cell: name, Err: access.Err}) {
					return
				}
				continue
			}
			configs[name] = withTimeout(access.Config)
		}
		for unit, err := range Census(ctx, configs, c.Resources, c.Snapshot, options) {
			if !yield(unit, err) {
				return
			}
		}
	}
}
