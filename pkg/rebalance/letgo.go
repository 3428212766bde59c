package rebalance

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

const (
	// letGoAtOnce is how many units are opened at once.
	letGoAtOnce = 50
	// letGoPatience is how long that may take.
	letGoPatience = 30 * time.Second
)

// letGo opens the units to writes again that were marked and have not moved, when this driver stops in the middle: there may
// be no other one, and until the RCP answers none comes. Should one have come already, it marks them again. What is half
// moved, and what this does not reach, is for the next driver.
//
// A driver that was suspended until another one took over leaves everything as it is: that one may have been at work for
// long.
func (p *pass) letGo(ctx context.Context) {
	if lease.TakenOver(ctx) {
		return
	}
	ctx, cancel := context.WithTimeout(lease.Unguarded(context.WithoutCancel(ctx)), letGoPatience)
	defer cancel()
	var begun []migration.Unit
	for _, l := range p.lanes {
		for _, t := range slices.Concat(l.waiting, l.ready) {
			if t.begun {
				begun = append(begun, t.unit)
			}
		}
	}
	mover := p.mover.Load()
	p.open(begun, func(unit migration.Unit) error { return notFlipped(mover.Undo(ctx, unit)) })
}

func notFlipped(err error) error {
	if isFlipped(err) {
		return nil
	}
	return err
}

// openBetween opens what an earlier driver has marked between cells that answer, while others of the ring do not: without
// those nothing is found that moves, and they may be away for long. What is half moved goes on to where it moves, since it
// cannot go back, and copies that were left between them are discarded. That is done once as long as the same cells answer,
// and less and less often where it fails. What moves to a cell that does not answer stays as it is. err is why there was no
// search.
func (r *run) openBetween(ctx context.Context, err error) {
	var unusable *cellsError
	if !errors.As(err, &unusable) {
		return
	}
	answering := slices.Sorted(maps.Keys(unusable.connected))
	if slices.Equal(answering, r.opening.between) && (r.opening.done || time.Now().Before(r.opening.next)) {
		return
	}
	snap, err := routing.FromRing(r.known())
	if err != nil {
		return
	}
	units, leftovers, err := migration.Begun(ctx, unusable.connected, snap)
	if err != nil {
		r.logger.Warn("cannot look for units that are closed to writes, trying again", "err", err)
		return
	}
	mover := r.moverOf(unusable.connected)
	units = slices.DeleteFunc(units, func(unit migration.Unit) bool { return mover.Cells[unit.To] == nil && !mover.Left(unit.To) })
	if !slices.Equal(answering, r.opening.between) {
		r.opening = opening{between: answering}
	}
	opened := r.openOrFinish(ctx, mover, units)
	if r.opening.done = r.clean(ctx, mover, leftovers) && opened; !r.opening.done {
		r.opening.tries++
		r.opening.next = time.Now().Add(backoff(r.opening.tries))
	}
}

// opening is what was done for units between cells that answer.
type opening struct {
	between []string
	// done says that none of them is closed to writes.
	done  bool
	tries int32
	next  time.Time // when to try again
}

// openOrFinish takes back what an earlier driver has begun with, or moves it on where it is half moved. It is false where a unit
// stays closed to writes.
func (r *run) openOrFinish(ctx context.Context, mover *migration.Mover, units []migration.Unit) bool {
	defer r.barrier.running.Wait() // whose rounds are of this context
	r.barrierOf(mover.Epoch)
	mover.Barrier = r.barrier.wait
	return r.open(units, func(unit migration.Unit) error {
		r.barrier.enter()
		defer r.barrier.leave()
		return mover.UndoOrFinish(ctx, unit)
	})
}

// open has units opened to writes, many at once, and is false where one stays closed.
func (r *run) open(units []migration.Unit, open func(migration.Unit) error) bool {
	var missed atomic.Bool
	var group errgroup.Group
	group.SetLimit(letGoAtOnce)
	for _, unit := range units {
		group.Go(func() error {
			if err := open(unit); err != nil && !errors.Is(err, migration.ErrCopyLeft) {
				missed.Store(true)
				r.logger.Warn("a unit stays closed to writes until it is moved on", "unit", unit.String(), "err", err)
			}
			return nil
		})
	}
	_ = group.Wait() // none fails
	return !missed.Load()
}
