package failover

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/routers"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// unread are the survivors whose copies a report does not know.
func unread(r *v1alpha1.FailoverReport) []string {
	var out []string
	for _, s := range r.Survivors {
		if !s.Reachable {
			out = append(out, s.Cell)
		}
	}
	return out
}

// deletions are the UIDs of the objects whose deletion a router acknowledged.
func (f *Facts) deletions() map[types.UID]bool {
	out := map[types.UID]bool{}
	for _, e := range f.entries() {
		if e.Gone && e.UID != "" {
			out[types.UID(e.UID)] = true
		}
	}
	return out
}

// look reads the ring again while cells are withheld: any driver may have released one.
func (p *promoter) look(ctx context.Context) error {
	if len(p.snap.Withheld) == 0 {
		return nil
	}
	ring, err := p.c.readRing(ctx)
	if err != nil {
		return passing(err)
	}
	snap, err := routing.FromRing(ring)
	if err != nil {
		return err
	}
	p.snap = snap
	return nil
}

// release lets the copies in a cell be promoted that did not answer when the report was made. Those of objects whose deletion
// was acknowledged are deleted first, as was done in the other cells before the ring changed. The ledgers of the routers still
// name these objects: of a cell that was failed over they keep what they know for as long as it has a Cell.
func (p *promoter) release(ctx context.Context, cell string) error {
	deleted, err := p.deletedSince(ctx)
	if err != nil {
		return err
	}
	access, err := federation.Cells(ctx, p.c.rcp)
	if err != nil {
		return err
	}
	config, err := configOf(access, cell)
	if err != nil {
		return err
	}
	config = wrapped(config, cell, p.WrapCell)
	var doomed []Copy
	for _, source := range p.sources {
		copies, err := listCopies(ctx, config, source)
		if err != nil {
			return err
		}
		doomed = append(doomed, slices.DeleteFunc(copies, func(c Copy) bool { return !deleted[c.Header.UID] })...)
	}
	if err := p.drop(ctx, map[string][]Copy{cell: doomed}); err != nil {
		return err
	}
	ring, err := p.c.readRing(ctx)
	if err != nil {
		return err
	}
	ring.Status.Withheld = minus(ring.Status.Withheld, cell)
	if _, err := p.c.client.Rings().UpdateStatus(ctx, ring, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager}); err != nil {
		return fmt.Errorf("write ring: %w", err)
	}
	p.logger.Info("the copies in a cell that did not answer are known", "cell", cell, "deleted", len(doomed))
	return nil
}

// deletedSince asks every router for what was deleted in the cells that are promoted from, and adds what they said after
// the fence, if this driver asked them then.
func (p *promoter) deletedSince(ctx context.Context) (map[types.UID]bool, error) {
	registered, err := routers.List(ctx, p.c.kube)
	if err != nil {
		return nil, err
	}
	said := &Facts{}
	for _, source := range p.sources {
		said.Witnesses = append(said.Witnesses, askRouters(ctx, registered, source)...)
	}
	for _, w := range said.Witnesses {
		if w.Err != nil && !slices.Contains(p.spec.IgnoreRouters, w.Name) {
			return nil, fmt.Errorf("ask router %s what was deleted: %w", w.Name, w.Err)
		}
	}
	out := said.deletions()
	for uid := range p.deleted {
		out[uid] = true
	}
	return out, nil
}
