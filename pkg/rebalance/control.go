package rebalance

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// Adjustment changes how a run goes, while it runs. What is nil stays.
type Adjustment struct {
	Window      *int32
	Rate        *int32
	MaxFailures *int32
	// Limit that is to hold from now on.
	Limit *v1alpha1.RebalanceLimit
}

// Tried is a change that was not made.
type Tried struct {
	// Patch is the change of the run that would be sent, as a merge patch in JSON.
	Patch string
	// Run is as the server would have it then.
	Run *v1alpha1.Rebalance
}

// Option says how the spec of a run is changed.
type Option func(*changing)

// Try has the server check the change, and write nothing; into gets what would be.
func Try(into *Tried) Option {
	return func(c *changing) { c.tried, c.options.DryRun = into, []string{metav1.DryRunAll} }
}

// changing is how a change is sent; tried is nil where it is made.
type changing struct {
	options metav1.PatchOptions
	tried   *Tried
}

// Pause lets the units in flight finish and begins no others.
func Pause(ctx context.Context, c *client.Client, name string, how ...Option) error {
	return changeUnended(ctx, c, name, map[string]any{"paused": true, "step": nil}, how...)
}

// ResumeOptions say which units may begin when a run goes on. The zero value leaves a limit as it is, but
// takes one off that has been reached.
type ResumeOptions struct {
	// Limit holds from now on.
	Limit *v1alpha1.RebalanceLimit
	// All takes the limit off.
	All bool
}

// Resume goes on, and tries again what failed.
func Resume(ctx context.Context, c *client.Client, name string, options ResumeOptions, how ...Option) error {
	if err := CheckSpec(&v1alpha1.RebalanceSpec{Window: 1, Limit: options.Limit}); err != nil {
		return err
	}
	run, err := unended(ctx, c, name)
	if err != nil {
		return err
	}
	wanted := map[string]any{"paused": false, "step": nil}
	if options.Limit != nil || options.All || LimitReached(&run.Status) {
		wanted["limit"] = whole(options.Limit)
	}
	return changeUnended(ctx, c, name, wanted, how...)
}

// whole is a limit as a merge patch that takes nothing over from the one before it.
func whole(limit *v1alpha1.RebalanceLimit) any {
	if limit == nil {
		return nil
	}
	out := map[string]any{"namespaces": nil, "selector": nil}
	if len(limit.Namespaces) > 0 {
		out["namespaces"] = limit.Namespaces
	}
	if limit.Selector != "" {
		out["selector"] = limit.Selector
	}
	return out
}

// Step moves so many windows and pauses.
func Step(ctx context.Context, c *client.Client, name string, windows int32, how ...Option) error {
	if windows < 1 || windows > maxWindow {
		return exit.Usagef("step is %d; it must be 1 to %d windows", windows, maxWindow)
	}
	return changeUnended(ctx, c, name, map[string]any{"paused": false, "step": windows}, how...)
}

// Adjust changes window, rate or the number of failures that stop the run.
func Adjust(ctx context.Context, c *client.Client, name string, a Adjustment) error {
	spec := v1alpha1.RebalanceSpec{Window: 1}
	wanted := map[string]any{}
	if a.Window != nil {
		spec.Window, wanted["window"] = *a.Window, *a.Window
	}
	if a.Rate != nil {
		spec.Rate, wanted["rate"] = *a.Rate, *a.Rate
	}
	if a.MaxFailures != nil {
		spec.MaxFailures, wanted["maxFailures"] = a.MaxFailures, *a.MaxFailures
	}
	if a.Limit != nil {
		spec.Limit, wanted["limit"] = a.Limit, whole(a.Limit)
	}
	if err := CheckSpec(&spec); err != nil {
		return err
	}
	return changeUnended(ctx, c, name, wanted)
}

// Abort makes the run walk back. A paused one is resumed for it: it would stand half way. What is accepted is carried out:
// the run is changed in the version in which it was found not to be past recall.
func Abort(ctx context.Context, c *client.Client, name string, how ...Option) error {
	for {
		run, err := abortable(ctx, c, name)
		if err != nil {
			return err
		}
		err = change(ctx, c, run, run.ResourceVersion, map[string]any{"abort": true, "paused": false, "step": nil, "limit": nil}, how...)
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

// abortable is a run that has not ended and is not past recall.
func abortable(ctx context.Context, c *client.Client, name string) (*v1alpha1.Rebalance, error) {
	run, err := unended(ctx, c, name)
	if err != nil {
		return nil, err
	}
	// Read after the run: a Ring that is Stable was announced in it before.
	ring, err := readRing(ctx, c)
	if err != nil {
		return nil, err
	}
	s, state := ring.Status, ""
	switch {
	case s.Rebalance != name || s.Aborting:
	case s.Phase == v1alpha1.RingStable:
		state = "is the current ring already"
	case s.Epoch+1 == run.Status.ToEpoch:
		state = "becomes the current ring at this moment"
	}
	if state != "" {
		return nil, exit.Refusedf("rebalance %s is past recall: its target %s", name, state).
			WithHint("change the wanted ring back (kubectl cell drain|undrain|weight) and rebalance again")
	}
	return run, nil
}

// unended is a run that has not ended.
func unended(ctx context.Context, c *client.Client, name string) (*v1alpha1.Rebalance, error) {
	run, err := c.Rebalances().Get(ctx, name, metav1.GetOptions{})
	if gone := deleted(name, err); gone != nil {
		return nil, gone
	}
	if err != nil {
		return nil, fmt.Errorf("read rebalance %s: %w", name, err)
	}
	if run.Status.Phase.Final() {
		return nil, exit.Refusedf("rebalance %s has ended: it is %s", name, run.Status.Phase).WithHint("kubectl cell history")
	}
	return run, nil
}

// changeUnended merges into the spec of a run that has not ended.
func changeUnended(ctx context.Context, c *client.Client, name string, spec map[string]any, how ...Option) error {
	run, err := unended(ctx, c, name)
	if err != nil {
		return err
	}
	return change(ctx, c, run, "", spec, how...)
}

// change merges into the spec of a run, in that version of it, or in whichever it has where version is "".
func change(ctx context.Context, c *client.Client, run *v1alpha1.Rebalance, version string, spec map[string]any, how ...Option) error {
	name, wanted := run.Name, map[string]any{"spec": spec}
	told, err := json.Marshal(wanted)
	if err != nil {
		return fmt.Errorf("encode the change of rebalance %s: %w", name, err)
	}
	patch := told
	if version != "" {
		wanted["metadata"] = map[string]any{"resourceVersion": version}
		if patch, err = json.Marshal(wanted); err != nil {
			return fmt.Errorf("encode the change of rebalance %s: %w", name, err)
		}
	}
	sent := changing{options: metav1.PatchOptions{FieldManager: v1alpha1.FieldManager}}
	for _, option := range how {
		option(&sent)
	}
	run, err = c.Rebalances().Patch(ctx, name, types.MergePatchType, patch, sent.options)
	switch {
	case apierrors.IsInvalid(err):
		return exit.Errorf(exit.Usage, "change rebalance %s: %w", name, err)
	case apierrors.IsForbidden(err):
		return exit.Refusedf("change rebalance %s: %w", name, err).WithHint("ask for the role kubecell-admin")
	case err != nil:
		return fmt.Errorf("change rebalance %s: %w", name, err)
	}
	if sent.tried != nil {
		*sent.tried = Tried{Patch: string(told), Run: run}
	}
	return nil
}
