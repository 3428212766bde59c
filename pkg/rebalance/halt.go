package rebalance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// defaultMaxFailures is that of the API, for a Rebalance that was written without it.
const defaultMaxFailures = 10

func isFlipped(err error) bool { return errors.Is(err, migration.ErrFlipped) }

// tookStep dates the mark of a unit, and passes the step on.
func (p *pass) tookStep(step migration.Step) {
	switch step.Name {
	case migration.Marked:
		p.marked.LoadOrStore(step.Unit.String(), time.Now())
	case migration.Flipped:
		p.flipped.Store(step.Unit.String(), true)
	}
	if p.UnitStep != nil {
		p.UnitStep(step)
	}
}

// judge stops the run when too many units failed.
func (p *pass) judge() {
	limit := int64(defaultMaxFailures)
	if p.wish.MaxFailures != nil {
		limit = int64(*p.wish.MaxFailures)
	}
	if failed := p.tracker.failed(); failed > limit && !p.stopping() {
		p.halting = true
		p.tracker.condition(v1alpha1.ConditionHealthy, false, "TooManyFailures",
			fmt.Sprintf("%d units failed and maxFailures is %d; the run is paused until it is resumed", failed, limit))
	}
}

// halt writes what the driver itself has to change in the spec: that a step is done, or that the run is
// paused. Where somebody else changed the spec at the same time nothing is written, since a pause that comes on top of an
// abort has the run stand half way; the next look decides anew.
func (p *pass) halt(ctx context.Context, now time.Time) {
	if now.Sub(p.asked) < again {
		return
	}
	operations := []map[string]any{{"op": "test", "path": "/metadata/generation", "value": p.generation}}
	left := p.wish.Step
	if p.toStep == 0 && left > 0 {
		if left--; left == 0 {
			operations = append(operations, map[string]any{"op": "remove", "path": "/spec/step"})
		} else {
			operations = append(operations, map[string]any{"op": "replace", "path": "/spec/step", "value": left})
		}
	}
	if p.halting || left == 0 {
		operations = append(operations, map[string]any{"op": "add", "path": "/spec/paused", "value": true})
	}
	var run *v1alpha1.Rebalance
	patch, err := json.Marshal(operations)
	if err == nil {
		run, err = p.client.Rebalances().Patch(ctx, p.name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
	}
	if err != nil {
		p.asked = now
		p.logger.Warn("cannot pause the rebalance, trying again", "err", err)
		return
	}
	// The next step begins by what was written now, not by what is known of the run from before.
	p.wishes.set(run)
	p.toStep = -1
}

// window shows how many units may move at once, and why not more.
func (t *tracker) window(th *throttle) {
	good, reason, message := th.condition()
	t.mu.Lock()
	t.base.Window = th.now
	t.mu.Unlock()
	t.condition(v1alpha1.ConditionFullSpeed, good, reason, message)
}
