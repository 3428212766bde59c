package failover

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// movedAtOnce is how many objects are looked for at the same time.
const movedAtOnce = 16

// moved looks for objects that routers remember in the cell and a rebalance in flight has taken elsewhere. One that is
// not found for certain is not among them.
func moved(ctx context.Context, f *Facts, ways *ways, snap *routing.Snapshot) (map[string]bool, error) {
	if f.Ring.Status.Target == nil {
		return nil, nil
	}
	found := map[string]bool{}
	var mu sync.Mutex // guards found
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(movedAtOnce)
	for _, e := range f.entries() {
		class, key := snap.Classes.Of(e.Group, e.Resource, e.Namespace)
		p, placed := snap.Table.Lookup(key, e.Namespace, e.Name)
		if class != placement.Sharded || !placed || !p.Moves() || p.Old() != f.Cell {
			continue
		}
		cell, err := ways.to(p.New())
		if err != nil {
			continue // the report says that it does not answer
		}
		group.Go(func() error {
			there, err := arrived(asking, cell, e.Group, e.Resource, e.Namespace, e.Name)
			mu.Lock()
			defer mu.Unlock()
			found[Key(e.Group, e.Resource, e.Namespace, e.Name)] = there
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("look for what has moved: %w", err)
	}
	return found, nil
}

// arrived says whether the cell has the object, and not a copy that does not count yet.
func arrived(ctx context.Context, cell *migration.Cell, group, resource, namespace, name string) (bool, error) {
	served, ok := cell.Preferred(schema.GroupResource{Group: group, Resource: resource})
	if !ok {
		return false, nil
	}
	object, err := cell.Look(ctx, migration.Object{Resource: served, Namespace: namespace, Name: name})
	if err != nil {
		if ctx.Err() != nil {
			return false, errors.Join(ctx.Err(), err)
		}
		return false, nil //nolint:nilerr // it is not found for certain
	}
	return object != nil && object.Labels[v1alpha1.LabelRebalanceStatus] == "", nil
}
