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
	fresh := t.lane.holding()
	t.lane.inFlight++
	p.inFlight++
	p.tracker.begun(t.lane.pair)
	go func() { // ends with the unit; serve waits for it
		result := p.attempt(ctx, t, fresh)
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

func (p *pass) attempt(ctx context.Context, t *task, fresh bool) migration.Result {
	if fresh {
		mover, err := p.run.mover(ctx)
		if err != nil {
			p.complain(err)
			return migration.Result{Outcome: migration.Unavailable, Message: err.Error(), Err: err, Begun: t.begun}
		}
		p.tracker.unusable(nil)
		p.adopt(mover)
	}
	mover := p.mover.Load()
	// What is half moved when the run turns is taken back where that is possible: the way is shorter.
	if t.stray || t.begun && p.turns() {
		err := mover.Undo(ctx, t.unit)
		switch {
		case err == nil, errors.Is(err, migration.ErrCopyLeft):
			return migration.Result{Outcome: migration.Gone}
		case !isFlipped(err):
			return migration.Result{Outcome: migration.Unavailable, Message: err.Error(), Err: err, Begun: true}
		}
	}
	return mover.Move(ctx, t.unit)
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
	t.begun = o.result.Begun
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
