package rebalance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// moveAll moves what moves by the Ring, until a search finds nothing more; twice where something was
// moved, since what was made in the old cells meanwhile may have come behind the search. It returns errTurn
// when the run is aborted and nothing is half moved.
func (r *run) moveAll(ctx context.Context) error {
	quiet := 1 // searches in a row that found nothing; the one before the first did not matter
	for first := true; ; first = false {
		if r.left() {
			return ErrLeft
		}
		limit := r.limit()
		mover, found, err := r.search(ctx, limit)
		if err != nil {
			return err
		}
		if first {
			r.tracker.expect(&r.known().Status, found)
			r.tracker.urge()
		}
		r.clean(ctx, mover, found.Leftovers)
		others := confine(found)
		switch nothing := len(found.Units)+len(found.Strays) == 0; {
		case nothing && others > 0:
			if err := r.rest(ctx, limit, others); err != nil {
				return err
			}
			quiet = 0
			continue
		case nothing:
			if err := r.discard(ctx, mover, found.Leftovers); err != nil {
				return err
			}
			if r.turns() {
				return errTurn
			}
			if quiet++; quiet > 1 {
				return nil
			}
			continue
		}
		r.showLimit(limit, others, false)
		quiet = 0
		r.Driver.step(UnitsFound)
		p := newPass(r, mover, found)
		p.limit = limit
		if err := p.serve(ctx); err != nil {
			return err
		}
		r.Driver.step(UnitsMoved)
	}
}

// search connects to the cells anew, since what they serve may have changed, and looks through them. It fails with errInTheWay
// where the run is aborted, nothing is half moved, and it cannot walk back.
func (r *run) search(ctx context.Context, limit *v1alpha1.RebalanceLimit) (*migration.Mover, *migration.Found, error) {
	choice, err := chooser(limit)
	if err != nil {
		return nil, nil, err
	}
	mover, err := r.mover(ctx)
	if err != nil {
		r.openBetween(ctx, err)
		return nil, nil, err
	}
	r.opening = opening{}
	snap, err := routing.FromRing(r.known())
	if err != nil {
		return nil, nil, err
	}
	found, err := migration.Choose(ctx, mover.Cells, snap, choice)
	if err != nil {
		return nil, nil, err
	}
	if r.turns() && len(found.Begun()) == 0 {
		if err := inTheWay(ctx, mover.Cells, found); err != nil {
			r.clean(ctx, mover, found.Leftovers)
			return nil, nil, err
		}
	}
	r.tracker.unusable(nil)
	return mover, found, nil
}

// mover is one with new connections, for the epoch that the Ring is in.
func (r *run) mover(ctx context.Context) (*migration.Mover, error) {
	s := r.known().Status
	cells, err := r.fleet.connect(ctx, cellsOf(s.Current, s.Target))
	if err != nil {
		return nil, err
	}
	return r.moverOf(cells), nil
}

// moverOf is one between some cells of the ring.
func (r *run) moverOf(cells map[string]*migration.Cell) *migration.Mover {
	s := r.known().Status
	ring := cellsOf(s.Current, s.Target)
	return &migration.Mover{
		Cells: cells, Rebalance: r.name, Epoch: s.Epoch, Clock: clock.RealClock{}, Room: r.room,
		Left: func(cell string) bool { return !slices.Contains(ring, cell) },
	}
}

// clean discards what an earlier driver left of objects that were deleted meanwhile, so that they can be made anew while the
// run rests, or takes long. What is not discarded now is in the end. The copy of what was in a cell that is not in the ring
// any more waits until then: it may be all that there is. It is false where a name stays taken that could be free.
func (r *run) clean(ctx context.Context, mover *migration.Mover, leftovers []migration.Leftover) bool {
	lost := func(l migration.Leftover) bool { return mover.Cells[l.From] == nil }
	if err := r.discard(ctx, mover, slices.DeleteFunc(slices.Clone(leftovers), lost)); err != nil {
		r.logger.Warn("a copy that nobody needs stays for the time being", "err", err)
		return false
	}
	return true
}

func (r *run) discard(ctx context.Context, mover *migration.Mover, leftovers []migration.Leftover) error {
	var problems []error
	for _, l := range leftovers {
		if err := migration.Discard(ctx, mover.Cells, l); err != nil {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("discard what an earlier driver left: %w", err)
	}
	return nil
}
