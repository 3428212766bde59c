package failover

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/pause"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// thaw takes the freeze off, and returns the way to the cell.
func (r *returning) thaw(ctx context.Context) (*rest.Config, error) {
	r.progress.begin(StepThaw)
	access, err := federation.Cells(ctx, r.c.rcp)
	if err != nil {
		return nil, err
	}
	config, err := configOf(access, r.Cell)
	if err != nil {
		return nil, exit.Refusedf("cell %s: %w", r.Cell, err).WithHint("kubectl cell add %s --kubeconfig FILE", r.Cell)
	}
	config = wrapped(config, r.Cell, r.WrapCell)
	if err := Thaw(ctx, config, wrappedAll(access[r.Cell].Endpoints, r.Cell, r.WrapCell)...); err != nil {
		return nil, fmt.Errorf("thaw cell %s: %w", r.Cell, err)
	}
	return config, sayFrozen(ctx, r.c.client, r.Cell, Frozen{Reason: v1alpha1.ReasonThawed, Message: "the cell came back"})
}

// madeTries is how often what is made in the cell under one name is deleted. Then whoever makes it has to be stopped.
const madeTries = 5

// emptied waits until the garbage collector, which the freeze held up, has done its part. What was made since the cell takes
// writes again, by its own controllers or below /cells, is judged and deleted as everything was before; unless the cell has
// joined a ring by another way.
func (r *returning) emptied(ctx context.Context, config *rest.Config) (joined bool, err error) {
	cell, err := migration.Connect(r.Cell, fence.AsMover(config))
	if err != nil {
		return false, err
	}
	ring, err := r.c.readRing(ctx)
	if err != nil {
		return false, err
	}
	snap, err := routing.FromRing(ring)
	if err != nil {
		return false, err
	}
	for tries := map[string]int{}; ; {
		n, example, made := 0, "", []migration.Object(nil)
		err := cell.Visit(ctx, snap, func(o migration.Object, meta *metav1.PartialObjectMetadata) error {
			n++
			if example = o.String(); !o.Deleting || !handled(meta) {
				made = append(made, o)
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		if n == 0 {
			break
		}
		r.progress.edit(func(s *v1alpha1.FailoverStatus) {
			stepOf(s, StepThaw).Message = fmt.Sprintf("%d objects are still being deleted, such as %s", n, example)
		})
		if joined, err := r.remove(ctx, made, tries); joined || err != nil {
			return joined, err
		}
		if err := pause.For(ctx, again/4); err != nil {
			return false, err
		}
	}
	if err := r.clear(ctx, config, snap); err != nil {
		return false, err
	}
	r.took(StepThaw, "the cell is empty, and takes writes again")
	return false, nil
}

// remove judges objects of the cell and deletes them, unless it has joined a ring. tries counts by name.
func (r *returning) remove(ctx context.Context, made []migration.Object, tries map[string]int) (joined bool, err error) {
	if len(made) == 0 {
		return false, nil
	}
	// The ring is read after the objects were: what a rebalance brings to a cell that joins has another UID than these.
	ring, err := r.c.readRing(ctx)
	if err != nil || r.joined(ring) {
		return err == nil, err
	}
	for _, o := range made {
		if tries[o.String()]++; tries[o.String()] > madeTries {
			return false, exit.Errorf(exit.Partial, "somebody makes %s in cell %s again and again", o, r.Cell).
				WithHint("kubectl cell failback %s   # goes on with it, once that has ended", r.Cell)
		}
	}
	c, err := r.compare(ctx, ring, func(_ context.Context, _ *comparison, judge func(migration.Object)) error {
		for _, o := range made {
			judge(o)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	return false, c.removeAll(ctx)
}

// clear deletes the copies of namespaces and definitions that were deleted while nobody waited for the cell. What is left in the
// end is left alone by all, and named: the cell can do its work.
func (r *returning) clear(ctx context.Context, config *rest.Config, snap *routing.Snapshot) error {
	return fewTimes(ctx, func(try int) error {
		n, err := replication.Clear(ctx, r.RCP, config, r.Cell, snap)
		if n > 0 {
			r.Logger.Info("deleted namespaces and definitions that were deleted while the cell was away", "cell", r.Cell, "copies", n)
		}
		if err != nil {
			r.Logger.Warn("cannot delete copies without a source", "cell", r.Cell, "try", try, "err", err)
		}
		return err
	})
}

// tidyTries is how often it is tried to delete what nobody needs.
const tidyTries = 5

// fewTimes does what nobody has to wait for, until it succeeds or was tried often enough. It fails where ctx ends before.
func fewTimes(ctx context.Context, do func(try int) error) error {
	for try := 1; do(try) != nil && try < tidyTries; try++ {
		if err := pause.For(ctx, again); err != nil {
			return err
		}
	}
	return nil
}

// join puts the cell into the wanted ring with the weight that it had, and ends the run.
func (r *returning) join(ctx context.Context) error {
	r.progress.begin(StepJoin)
	weight := int32(placement.DefaultWeight)
	list, err := r.c.client.Failovers().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list failovers: %w", err)
	}
	var last metav1.Time
	for _, run := range list.Items {
		if run.Spec.Cell == r.Cell && run.Status.Member != nil && last.Before(&run.CreationTimestamp) {
			last, weight = run.CreationTimestamp, run.Status.Member.Weight
		}
	}
	change, err := federation.Return(ctx, r.c.rcp, r.Cell, weight)
	if err != nil {
		return err
	}
	return r.end(ctx, fmt.Sprintf("in the wanted ring with weight %d", federation.Weight(&change.After.Spec.RingLayout, r.Cell)))
}

// end ends a run whose cell has joined.
func (r *returning) end(ctx context.Context, message string) error {
	ring, err := r.c.readRing(ctx)
	if err != nil {
		return err
	}
	now := metav1.Now()
	r.took(StepJoin, message)
	r.progress.edit(func(s *v1alpha1.FailoverStatus) {
		s.Phase, s.ToEpoch, s.CompletionTime = v1alpha1.FailoverSucceeded, ring.Status.Epoch, &now
	})
	return r.progress.publish(ctx)
}
