package rebalance

import (
	"context"
	"errors"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// routerPatience is how long units stay closed to writes for routers that do not acknowledge. One that lives does at once,
// unless a write that it has begun takes so long.
const routerPatience = 3 * time.Second

// errSilent says that a router has not acknowledged in time. It blocks the transition, never the traffic: what waits for it
// is undone. Nothing of that was flipped, so that the old cell alone has accepted writes, and does; a router that has seen
// the mark answers 429 until it looks again. A unit that is marked anew is covered by a barrier of its own.
var errSilent = errors.New("a router does not acknowledge")

// awaitBriefly waits for the routers as long as something may be closed to writes.
func (r *run) awaitBriefly(ctx context.Context, epoch, window int64) error {
	return r.awaitFor(ctx, routerPatience, epoch, window)
}

// awaitFor fails with errSilent where a router takes longer.
func (r *run) awaitFor(ctx context.Context, patience time.Duration, epoch, window int64) error {
	ctx, stop := context.WithTimeoutCause(ctx, patience, errSilent)
	defer stop()
	return r.routers.Await(ctx, epoch, window)
}

// acknowledged returns when all routers acknowledge the phase that the Ring is in. What an earlier driver has begun with is
// opened, or moved on, when that takes long, and copies that it has left are discarded, which keep names from being made anew;
// where that fails it is tried again, less and less often, until nothing is closed.
func (r *run) acknowledged(ctx context.Context, s *v1alpha1.RingStatus) error {
	patience := routerPatience
	for tries := int32(1); s.Phase == v1alpha1.RingRebalancing; tries++ {
		err := r.awaitFor(ctx, patience, s.Epoch, 0)
		if !errors.Is(err, errSilent) {
			return err
		}
		if err := r.read(ctx); err != nil {
			return err
		}
		if r.known().Status.Epoch != s.Epoch {
			return errSuperseded
		}
		mover, found, err := r.search(ctx, nil)
		if err != nil {
			return err
		}
		opened := r.openOrFinish(ctx, mover, found.Begun())
		if r.clean(ctx, mover, found.Leftovers) && opened {
			break
		}
		patience = backoff(tries)
	}
	return r.routers.Await(ctx, s.Epoch, 0)
}

// silence takes a unit back for which a router did not acknowledge. No cell is to blame, and it has not failed: it goes on
// when the routers do, in the same step.
func (p *pass) silence(t *task, begun bool, blocked time.Duration) {
	p.silent = true
	p.putBack(t, blocked)
	if p.toStep >= 0 && !begun {
		p.toStep++
	}
}

// putBack lets a unit begin again as soon as others may. It has not failed.
func (p *pass) putBack(t *task, blocked time.Duration) {
	t.due, t.unit = time.Time{}, t.unit.Stale()
	t.lane.wait(t)
	p.tracker.ended(t.lane.pair, t.unit.Key, blocked, nil, false)
}

// listenToRouters waits, with nothing closed to writes for it, until the routers acknowledge the window that they did not.
func (p *pass) listenToRouters(ctx context.Context) {
	s := p.known().Status
	if p.routers.Await(ctx, s.Epoch, s.Window) != nil {
		return // ctx has ended
	}
	p.waiting(nil)
	p.heard <- struct{}{}
}
