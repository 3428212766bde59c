package rebalance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// Reasons of the condition Unlimited.
const (
	ReasonUnlimited    = "Unlimited"
	ReasonLimited      = "Limited"
	ReasonLimitReached = "LimitReached"
)

// chooser says which units a limit lets begin; nil for all. The error says what makes no sense.
func chooser(limit *v1alpha1.RebalanceLimit) (migration.Choice, error) {
	if limit == nil {
		return nil, nil
	}
	selector, err := labels.Parse(limit.Selector)
	if err != nil {
		return nil, fmt.Errorf("read the selector %q of the limit: %w", limit.Selector, err)
	}
	return func(namespace string, have map[string]string) bool {
		return (len(limit.Namespaces) == 0 || slices.Contains(limit.Namespaces, namespace)) && selector.Matches(labels.Set(have))
	}, nil
}

// DescribeLimit is a limit in the words of the command line; empty for none.
func DescribeLimit(limit *v1alpha1.RebalanceLimit) string {
	if limit == nil {
		return ""
	}
	var parts []string
	for _, namespace := range limit.Namespaces {
		parts = append(parts, "-n "+namespace)
	}
	if limit.Selector != "" {
		parts = append(parts, "-l "+limit.Selector)
	}
	return strings.Join(parts, " ")
}

// LimitReached says whether a run rests because all units that its limit lets begin have moved.
func LimitReached(status *v1alpha1.RebalanceProgress) bool {
	c := apimeta.FindStatusCondition(status.Conditions, v1alpha1.ConditionUnlimited)
	return c != nil && c.Status == metav1.ConditionFalse && c.Reason == ReasonLimitReached
}

func sameLimit(a, b *v1alpha1.RebalanceLimit) bool { return equality.Semantic.DeepEqual(a, b) }

// limit is the one that holds now. There is none on the way back: what has moved must not stay half way.
func (r *run) limit() *v1alpha1.RebalanceLimit {
	wish, _ := r.wishes.get()
	if wish.Abort || r.known().Status.Aborting {
		return nil
	}
	return wish.Limit
}

// confine takes out of what was found the units that may not begin, and returns how many. Those that were
// begun with stay.
func confine(found *migration.Found) (others int) {
	all := len(found.Units)
	found.Units = slices.DeleteFunc(found.Units, func(unit migration.Unit) bool { return !unit.Chosen && !unit.Marked() })
	return all - len(found.Units)
}

// showLimit says how far the limit lets the run go. others is how many units it keeps from beginning.
func (r *run) showLimit(limit *v1alpha1.RebalanceLimit, others int, reached bool) {
	switch words := DescribeLimit(limit); {
	case others == 0:
		r.tracker.condition(v1alpha1.ConditionUnlimited, true, ReasonUnlimited, "")
	case reached:
		r.tracker.condition(v1alpha1.ConditionUnlimited, false, ReasonLimitReached,
			fmt.Sprintf("all units of %s have moved; %d others wait until the run is resumed, which takes the limit off", words, others))
	default:
		r.tracker.condition(v1alpha1.ConditionUnlimited, false, ReasonLimited, fmt.Sprintf("only units of %s begin; %d others wait", words, others))
	}
}

// rest pauses the run, since all units that its limit lets begin have moved, and returns when there is
// something else to do.
func (r *run) rest(ctx context.Context, limit *v1alpha1.RebalanceLimit, others int) error {
	r.showLimit(limit, others, true)
	for paused, told := false, false; ; {
		var later <-chan time.Time
		wish, changed := r.wishes.get()
		switch {
		case r.left():
			return ErrLeft
		case r.turns():
			return errTurn
		case !sameLimit(r.limit(), limit):
			return nil
		case wish.Paused:
			r.tracker.phase(v1alpha1.RebalancePaused)
			if paused = true; told {
				break
			}
			// Who leaves at this step says that the run is paused: its record has to say so before.
			switch err := r.publish.publish(ctx); {
			case err == nil:
				told = true
				r.Driver.step(Rested)
			case errors.Is(err, errEnded):
				return err
			default: // which the publisher tells
				later = time.After(publishEvery)
			}
		case paused: // it was resumed with the same limit, and there may be more units of it by now
			return nil
		default:
			if err := r.pauseAt(ctx, limit); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.Leaving:
		case <-changed:
		case <-later:
		}
	}
}

// pauseAt writes the pause into the spec, unless the limit is another one by now.
func (r *run) pauseAt(ctx context.Context, limit *v1alpha1.RebalanceLimit) error {
	patch, err := json.Marshal([]map[string]any{
		{"op": "test", "path": "/spec/limit", "value": limit},
		{"op": "add", "path": "/spec/paused", "value": true},
	})
	if err != nil {
		return fmt.Errorf("encode the pause: %w", err)
	}
	_, patchErr := r.client.Rebalances().Patch(ctx, r.name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
	run, err := r.client.Rebalances().Get(ctx, r.name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read rebalance %s: %w", r.name, err)
	}
	r.wishes.set(run)
	if patchErr != nil && sameLimit(run.Spec.Limit, limit) {
		return fmt.Errorf("pause at the limit: %w", patchErr)
	}
	return nil
}
