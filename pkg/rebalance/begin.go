package rebalance

import (
	"context"
	"slices"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// begin accepts the wanted ring, unless the run is paused or aborted before it began. The Ring was read before the record
// is, and is written in that version: a run that another driver begins, or ends, meanwhile is not begun again.
func (r *run) begin(ctx context.Context) (ended bool, err error) {
	run, err := r.listen(ctx)
	if err != nil {
		return false, err
	}
	ring := r.known()
	if s := ring.Status; s.Phase != v1alpha1.RingStable {
		return false, exit.Refusedf("the ring is in the hands of rebalance %s", s.Rebalance).WithHint("kubectl cell rebalance status")
	}
	begun := run.Status.StartTime != nil
	wish, changed := r.wishes.get()
	switch {
	case wish.Abort:
		r.tracker.edit(func(s *v1alpha1.RebalanceProgress) {
			if s.ToEpoch = ring.Status.Epoch; !begun {
				s.FromEpoch = s.ToEpoch
			}
		})
		return true, r.end(ctx, v1alpha1.RebalanceAborted)
	case begun:
		return false, exit.Refusedf("rebalance %s has begun before, and the ring is not in its hands any more: it cannot begin again", r.name).
			WithHint("kubectl cell rebalance abort %s   # ends its record, and moves nothing", r.name)
	case wish.Paused:
		r.tracker.phase(v1alpha1.RebalancePaused)
		r.fenced = nil // by the time that it goes on
		select {
		case <-ctx.Done():
		case <-r.Leaving:
		case <-changed:
		}
		return false, context.Cause(ctx)
	}
	if err := checkLayouts(ring); err != nil {
		return false, err
	}
	if names := cellsOf(ring.Status.Current, &ring.Spec.RingLayout); !slices.Equal(names, r.fenced) {
		// What is wanted of the ring and of the run is read again afterwards: this may take long.
		return false, r.look(ctx, changed, names)
	}
	return false, r.write(ctx, PreparingWritten, func(ring *v1alpha1.Ring) { accept(ring, r.name) })
}

// look asks whether the fence of each cell is in force, until it is told something else.
func (r *run) look(ctx context.Context, changed <-chan struct{}, names []string) error {
	looking, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // ends with looking
		select {
		case <-looking.Done():
		case <-r.Leaving:
		case <-changed:
		}
		stop()
	}()
	err := r.fleet.fenced(looking, names)
	if err != nil && looking.Err() != nil {
		return nil
	}
	if err == nil {
		r.fenced = names
		r.tracker.unusable(nil)
	}
	return err
}
