package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// leftoversAtOnce is how many objects are looked for at the same time.
const leftoversAtOnce = 16

// dropLeftovers deletes the copies of the cell's objects that the ring did not look for, where their objects are in place. The
// ring had changed a moment before the cell died, and they were about to go. Each has the name of the copy that its object
// may have to have there by now, and would keep the backup waiting until the cell came back.
// The run has done its work, and others wait for its end.
func (r *run) dropLeftovers(ctx context.Context, ring *v1alpha1.Ring) {
	_ = fewTimes(ctx, func(try int) error { // an end of ctx is that of the run
		n, err := r.dropLeftoversOnce(ctx, ring)
		if n > 0 {
			r.logger.Info("deleted copies where the ring does not look for them", "copies", n)
		}
		if err != nil {
			r.logger.Warn("cannot delete copies where the ring does not look for them", "try", try, "err", err)
		}
		return err
	})
}

func (r *run) dropLeftoversOnce(ctx context.Context, ring *v1alpha1.Ring) (n int, err error) {
	snap, err := routing.FromRing(ring)
	if err != nil {
		return 0, err
	}
	access, err := federation.Cells(ctx, r.c.rcp)
	if err != nil {
		return 0, err
	}
	ways := newWays(access)
	for _, cell := range snap.Table.Cells() {
		if snap.Unavailable[cell] {
			continue
		}
		left, failed := r.leftovers(ctx, ways, snap, cell)
		if failed == nil {
			failed = r.drop(ctx, map[string][]Copy{cell: left})
		}
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("cell %s: %w", cell, failed))
			continue
		}
		n += len(left)
	}
	return n, err
}

// leftovers are the copies in a cell that are of no use any more.
func (r *run) leftovers(ctx context.Context, ways *ways, snap *routing.Snapshot, cell string) ([]Copy, error) {
	config, err := configOf(ways.access, cell)
	if err != nil {
		return nil, err
	}
	copies, err := listCopies(ctx, wrapped(fence.AsMover(config), cell, r.WrapCell), r.cell)
	if err != nil {
		return nil, err
	}
	copies = slices.DeleteFunc(copies, func(c Copy) bool { return c.Corrupt != nil || usable(snap, cell, &c) })
	var left []Copy
	var mu sync.Mutex // guards left
	group, looking := errgroup.WithContext(ctx)
	group.SetLimit(leftoversAtOnce)
	for _, c := range copies {
		group.Go(func() error {
			done, err := inPlace(looking, ways, snap, &c.Header)
			if done {
				mu.Lock()
				defer mu.Unlock()
				left = append(left, c)
			}
			return err
		})
	}
	return left, group.Wait()
}

// inPlace says whether the object of a copy is where the ring looks for it, and has come there no earlier than the copy was
// made: by the promotion, or by a move before. What nobody has brought there may be another object, and the copy all that is
// left of this one. One that a controller derives stands for nothing that anybody wrote.
func inPlace(ctx context.Context, ways *ways, snap *routing.Snapshot, h *envelope.Header) (bool, error) {
	place, placed := snap.Table.LookupKey(h.Unit)
	if !placed {
		return false, nil
	}
	class, _ := snap.Classes.Of(h.Group, h.Resource, h.Namespace)
	for _, name := range slices.Compact([]string{place.Old(), place.New()}) {
		cell, err := ways.to(name)
		if err != nil {
			return false, err
		}
		resource, served := cell.Preferred(schema.GroupResource{Group: h.Group, Resource: h.Resource})
		if !served {
			continue
		}
		found, err := cell.Look(ctx, migration.Object{Resource: resource, Namespace: h.Namespace, Name: h.Name})
		if err != nil {
			return false, err
		}
		if found == nil {
			continue
		}
		switch v1alpha1.RebalanceStatus(found.Labels[v1alpha1.LabelRebalanceStatus]) {
		case "", v1alpha1.Migrating:
			came, err := strconv.ParseInt(found.Annotations[v1alpha1.AnnotationPlacementEpoch], 10, 64)
			return class == placement.Dependent || err == nil && came >= h.Epoch, nil
		}
	}
	return false, nil
}
