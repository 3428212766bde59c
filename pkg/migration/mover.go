package migration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// tries bounds how often one step is begun again because somebody else changed the object.
const tries = 8

// ErrFlipped is returned by Undo for a unit that has passed the flip of an object: it can only be moved on.
var ErrFlipped = errors.New("an object of the unit is in the new cell already")

// ErrCopyLeft is returned by Undo for a unit that can be written again in its old cell, while the new one may
// have a copy that does not count. Nothing has to be done.
var ErrCopyLeft = errors.New("a copy that does not count may be left")

// Mover moves units. It keeps nothing between calls and may be used by many goroutines at once, each for
// another unit.
type Mover struct {
	// Cells by name, all that units are moved between.
	Cells map[string]*Cell
	// Left says of a cell that is not one of Cells whether it has left the ring, so that nothing in it counts: what was
	// begun to be moved there is taken back without it. nil where none has.
	Left func(cell string) bool
	// Rebalance is the name of the run.
	Rebalance string
	// Epoch of the ring in the run, at least 1.
	Epoch int64
	// Barrier returns when every write that a router began before the call has ended. It may be nil
	// where nobody but the mover writes.
	Barrier func(ctx context.Context) error
	// Room is asked where a cell has refused a copy because it would exceed a quota there, which it states by part of
	// the whole: true where it was given more. nil where nobody divides quotas.
	Room func(ctx context.Context, cell, namespace string, refusal error) bool
	// Step is told of each step, of one of a unit at a time; nil for nobody.
	Step func(Step)
	// Clock dates the marks.
	Clock clock.PassiveClock
}

// item is an object on its way.
type item struct {
	Object
	// source is what the old cell has, as it was read or marked last.
	source *document
	// copy is what the new cell has, nil where that is not known.
	copy *document
	// want is the copy as it has to be, without marks.
	want *document
	// give is what the new cell had to give out anew.
	give allocation
	// flipped: the old cell's object is a tombstone of a move to the new cell; arrived: its copy was revealed, or deleted
	// since. gone: there is no object in the old cell. left: it is being deleted and stays behind.
	flipped, arrived, gone, left bool
	// generation is 0 for an object that nothing of the unit owns, and one more than its owners' for others.
	generation int
}

func (i *item) id() types.UID {
	if i.source != nil {
		return i.source.uid()
	}
	return i.UID
}

func (i *item) ownedBy() []metav1.OwnerReference {
	if i.source != nil {
		return i.source.owners
	}
	return i.Owners
}

func (i *item) name() string { return i.String() }

// pending says whether the object has still to be copied and flipped.
func (i *item) pending() bool { return !i.flipped && !i.gone && !i.left }

// half says whether the object does not count in the old cell any more, and in the new one not yet.
func (i *item) half() bool { return i.flipped && !i.arrived }

// run is one call of Move.
type run struct {
	*Mover
	unit     Unit
	from, to *Cell // to is nil on the way back from a cell that has left the ring
	items    []*item

	mu sync.Mutex // guards what follows, and flipped of items, while objects are worked at at once
	// newUIDs are those of the copies, by the UID in the old cell.
	newUIDs map[types.UID]types.UID
	// fresh is set by a mark, and asks for a barrier.
	fresh bool

	telling sync.Mutex // of one step at a time
	// shared is true where others may work at the same copy at once; see [Mover.Stage].
	shared bool
}

// Move brings a unit to its new cell, from whatever state earlier calls have left it in. One that fails
// before the flip of an object is undone; where that does not succeed, or ctx has ended, the result has
// Begun set. The same unit must not be moved by two calls at once.
func (m *Mover) Move(ctx context.Context, unit Unit) Result {
	r, err := m.begin(unit)
	if err != nil {
		return Result{Outcome: Unavailable, Message: err.Error(), Err: err}
	}
	if err = r.forward(ctx); err == nil {
		return r.result()
	}
	result := Result{Outcome: Unavailable, Message: err.Error(), Err: err}
	if f := (*failure)(nil); errors.As(err, &f) {
		result = r.unlessStarting(ctx, Result{Outcome: f.outcome, Object: f.object, Message: f.message, Err: f})
	}
	if ctx.Err() != nil {
		result.Outcome, result.Begun = Unavailable, true
		return result
	}
	if err := m.undo(ctx, unit, r.sawUnflipped); err != nil {
		result.CopyLeft = errors.Is(err, ErrCopyLeft)
		result.Begun = !result.CopyLeft
		result.Message = fmt.Sprintf("%s; not undone: %v", result.Message, err)
	}
	return result
}

// unlessStarting believes a cell's refusal only where both cells have started completely.
func (r *run) unlessStarting(ctx context.Context, result Result) Result {
	if result.Outcome != Refused && result.Outcome != NoKind {
		return result
	}
	for _, cell := range []*Cell{r.from, r.to} {
		if err := cell.started(ctx); err != nil {
			result.Outcome = Unavailable
			result.Message = fmt.Sprintf("cell %s is starting (%v): %s", cell.Name, err, result.Message)
			return result
		}
	}
	return result
}

func (m *Mover) begin(unit Unit) (*run, error) {
	if m.Cells[unit.To] == nil {
		return nil, fmt.Errorf("unit %s: no such pair of cells", unit)
	}
	return m.beginBack(unit)
}

// beginBack does not need the new cell where that has left the ring.
func (m *Mover) beginBack(unit Unit) (*run, error) {
	r := &run{Mover: m, unit: unit, from: m.Cells[unit.From], to: m.Cells[unit.To], newUIDs: map[types.UID]types.UID{}}
	left := r.to == nil && m.Left != nil && m.Left(unit.To)
	if r.from == nil || r.to == nil && !left || unit.From == unit.To {
		return nil, fmt.Errorf("unit %s: no such pair of cells", unit)
	}
	for _, o := range unit.Objects {
		r.items = append(r.items, &item{Object: o})
	}
	return r, nil
}

// forward goes through the steps of the package documentation.
func (r *run) forward(ctx context.Context) error {
	if err := r.refuseEarly(); err != nil {
		return err
	}
	if err := r.marks(ctx); err != nil {
		return err
	}
	if err := r.order(); err != nil {
		return err
	}
	for range tries {
		if err := r.barrier(ctx); err != nil {
			return err
		}
		if err := r.each(ctx, r.place); err != nil {
			return err
		}
		changed, err := r.flips(ctx)
		if err != nil {
			return err
		}
		if !changed {
			return r.each(ctx, r.reveal)
		}
	}
	return fail(Unavailable, nil, "objects were changed %d times between copy and flip", tries)
}

// refuseEarly finds what needs no request.
func (r *run) refuseEarly() error {
	for _, i := range r.items {
		if i.Deleting && i.Status == "" {
			return fail(Deferred, &i.Object, "it is being deleted")
		}
	}
	return r.order()
}

func (r *run) barrier(ctx context.Context) error {
	if !r.fresh || r.Barrier == nil {
		return nil
	}
	if err := r.Barrier(ctx); err != nil {
		return &failure{outcome: Unavailable, message: fmt.Sprintf("wait for the routers: %v", err), cause: err}
	}
	r.fresh = false
	r.step(Barred, nil)
	return nil
}

// result is that of a unit that went all the way. One of which no more was left than what had moved before has moved, and
// one of which the rest was deleted is gone.
func (r *run) result() Result {
	moved, gone := false, false
	for _, i := range r.items {
		if i.left {
			return Result{Outcome: Deferred, Object: &i.Object, Message: "it is being deleted; the rest of the unit has moved"}
		}
		moved, gone = moved || i.half(), gone || i.gone
	}
	if gone && !moved {
		return Result{Outcome: Gone}
	}
	return Result{Outcome: Moved}
}

// sawUnflipped says whether this call has had the object in its hands, and did not flip it.
func (r *run) sawUnflipped(uid types.UID) bool {
	return slices.ContainsFunc(r.items, func(i *item) bool { return i.source != nil && !i.flipped && i.UID == uid })
}

func (m *Mover) now() string { return m.Clock.Now().UTC().Format(time.RFC3339) }

func (m *Mover) epoch() string { return strconv.FormatInt(m.Epoch, 10) }

func (r *run) step(name StepName, o *Object) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.Mover.report(name, r.unit, o)
}

func (m *Mover) report(name StepName, unit Unit, o *Object) {
	if m.Step != nil {
		m.Step(Step{Name: name, Unit: unit, Object: o})
	}
}
