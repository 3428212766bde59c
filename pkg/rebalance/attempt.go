package rebalance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// begin sends a unit on its way. A lane that is held is tried with new connections: the credentials may be
// others by now.
func (p *pass) begin(ctx context.Context, t *task) {
	how := approach{
		fresh: t.lane.holding(), undo: t.stray || t.begun && (p.turns() || p.silent),
		retract: !t.begun && (p.stopping() || p.silent),
	}
	t.lane.inFlight++
	p.inFlight++
	p.tracker.begun(t.lane.pair)
	p.run.barrier.enter()
	go func() { // ends with the unit; serve waits for it
		result := p.attempt(ctx, t, how)
		p.run.barrier.leave()
		o := outcome{task: t, result: result}
		if since, known := p.marked.Load(t.unit.String()); known {
			o.blocked = time.Since(since.(time.Time))
			if !result.Begun {
				p.marked.Delete(t.unit.String())
			} else {
				o.blocked = 0 // it lasts
			}
		}
		p.ended <- o
	}()
}

// approach is how a unit is attempted.
type approach struct {
	// fresh connections are made before.
	fresh bool
	// undo takes back what is half moved, where that is still possible: when the run turns the way is shorter, and while a
	// router is silent it can be written again.
	undo bool
	// retract takes back the copy alone that could not be removed.
	retract bool
}

// attempt moves a unit, or takes back what was begun of it.
func (p *pass) attempt(ctx context.Context, t *task, how approach) migration.Result {
	if how.fresh {
		if err := p.reconnect(ctx, t.lane.pair); err != nil {
			return migration.Result{Outcome: migration.Unavailable, Message: err.Error(), Err: err, Begun: t.begun, CopyLeft: t.copied}
		}
	}
	mover := p.mover.Load()
	if how.retract {
		return p.retract(ctx, mover, t, migration.Result{Outcome: migration.Unavailable, Message: errRetracted.Error(), Err: errRetracted})
	}
	if how.undo {
		err := mover.Undo(ctx, t.unit)
		switch opened := err == nil || errors.Is(err, migration.ErrCopyLeft); {
		case opened && !t.stray && !p.turns():
			return migration.Result{Outcome: migration.Unavailable, Message: errSilent.Error(), Err: errSilent}
		case opened:
			return migration.Result{Outcome: migration.Gone}
		case !isFlipped(err):
			return migration.Result{Outcome: migration.Unavailable, Message: err.Error(), Err: err, Begun: true}
		}
	}
	result := mover.Move(ctx, t.unit)
	if _, flipped := p.flipped.Load(t.unit.String()); result.Outcome == migration.Gone && !t.begun && !flipped {
		return p.retract(ctx, mover, t, result)
	}
	return result
}

// errRetracted says that the copy of a unit was taken back, and nothing else was done.
var errRetracted = errors.New("its copy was taken back")

// retract removes the copies of a unit of which nothing was flipped; the result is then as given.
func (p *pass) retract(ctx context.Context, mover *migration.Mover, t *task, result migration.Result) migration.Result {
	if err := mover.Retract(ctx, t.unit); err != nil {
		return migration.Result{Outcome: migration.Unavailable, Message: err.Error(), Err: err, CopyLeft: true}
	}
	return result
}

// take notes the end of an attempt.
func (p *pass) take(o outcome, now time.Time) {
	t := o.task
	p.inFlight--
	t.lane.inFlight--
	if o.result.Done() {
		p.left--
		t.lane.misses = 0
		p.tracker.ended(t.lane.pair, t.unit.Key, o.blocked, nil, !t.stray)
		if o.result.Outcome == migration.Moved {
			p.voice.add(Event{Type: EventMoved, Run: p.name, Unit: &UnitEvent{
				Key: t.unit.Key, From: t.unit.From, To: t.unit.To, Blocked: o.blocked,
			}})
		}
		return
	}
	begun := t.begun
	t.begun, t.copied = o.result.Begun, o.result.CopyLeft
	switch {
	case errors.Is(o.result.Err, errSilent):
		p.silence(t, begun, o.blocked)
		return
	case errors.Is(o.result.Err, errRetracted):
		p.putBack(t, o.blocked)
		return
	}
	t.retry(now)
	if o.result.Outcome == migration.Unavailable {
		t.lane.missed(now)
	} else {
		t.lane.misses = 0
	}
	t.lane.wait(t)
	failure := &v1alpha1.UnitFailure{
		Key: t.unit.Key, From: t.unit.From, To: t.unit.To, Step: string(o.result.Outcome),
		Message: describe(o.result), Attempts: t.attempts,
		Retrying: o.result.Retryable() && now.Sub(t.since) < p.Patience,
	}
	p.tracker.ended(t.lane.pair, t.unit.Key, o.blocked, failure, false)
	p.judge()
}

func describe(result migration.Result) string {
	if result.Object == nil {
		return result.Message
	}
	return fmt.Sprintf("%s: %s", result.Object, result.Message)
}
