package rebalance

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/migration"
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
	p.open(ctx, p.mover.Load(), begun)
}

// open undoes what was begun of units, as far as the cells answer and nothing of them has moved.
func (r *run) open(ctx context.Context, mover *migration.Mover, units []migration.Unit) {
	var group errgroup.Group
	group.SetLimit(letGoAtOnce)
	for _, unit := range units {
		group.Go(func() error {
			err := mover.Undo(ctx, unit)
			if err != nil && !isFlipped(err) && !errors.Is(err, migration.ErrCopyLeft) {
				r.logger.Warn("a unit stays closed to writes until it is moved on", "unit", unit.String(), "err", err)
			}
			return nil
		})
	}
	_ = group.Wait() // none fails
}
