package rebalance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// StartOptions say how a run shall go.
type StartOptions struct {
	// Spec of the run; its window must be set.
	Spec v1alpha1.RebalanceSpec
	// Detached leaves the run to a backup daemon, which begins at once.
	Detached bool
	// Plan finds the units that would move. It costs a search of all cells.
	Plan bool
	// DryRun makes no run.
	DryRun bool
}

// Started is what [Start] found and did.
type Started struct {
	// Nothing says that the wanted ring is the current one already. There is no run then.
	Nothing bool
	// Run that was created; nil in a dry run.
	Run *v1alpha1.Rebalance
	// Ring as it was checked.
	Ring *v1alpha1.Ring
	// Units that would move, in the order in which they begin, where a plan was asked for. Where the run is
	// limited, those that it lets begin.
	Units []migration.Unit
	// Others is how many units the limit keeps from beginning.
	Others int
	// Warnings are for people.
	Warnings []string
}

// UnfinishedError says that a run has not ended; there is one at a time.
type UnfinishedError struct{ Run *v1alpha1.Rebalance }

func (e *UnfinishedError) Error() string {
	phase := e.Run.Status.Phase
	if phase == "" {
		phase = v1alpha1.RebalancePending
	}
	return fmt.Sprintf("rebalance %s has not ended: it is %s", e.Run.Name, phase)
}

// Start checks whether the wanted ring can be accepted, and creates the run that does; a [Driver] carries it
// out. A refusal is an *exit.Error; where a run has not ended it wraps an *UnfinishedError.
func Start(ctx context.Context, rcp *rest.Config, options StartOptions) (*Started, error) {
	if err := CheckSpec(&options.Spec); err != nil {
		return nil, err
	}
	c, err := client.New(rcp)
	if err != nil {
		return nil, err
	}
	ring, err := readRing(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := checkFree(ctx, c); err != nil {
		return nil, err
	}
	started := &Started{Ring: ring}
	if ring.Status.Phase != v1alpha1.RingStable && ring.Status.Rebalance != "" {
		return started, started.adopt(ctx, c, options)
	}
	if err := checkLayouts(ring); err != nil {
		return nil, err
	}
	if sameLayout(ring.Status.Current, &ring.Spec.RingLayout) {
		started.Nothing = true
		return started, nil
	}
	access, err := federation.Cells(ctx, rcp)
	if err != nil {
		return nil, err
	}
	if started.Warnings, err = checkCells(ctx, access, ring); err != nil {
		return nil, err
	}
	if limit := options.Spec.Limit; options.Plan || limit != nil {
		found, err := planned(ctx, rcp, ring, limit)
		if err != nil {
			return nil, err
		}
		started.Others = confine(found)
		if started.Units = found.Units; limit != nil && len(found.Units) == 0 {
			return nil, exit.Refusedf("none of the %d units that move is one of %s", started.Others, DescribeLimit(limit)).
				WithHint("kubectl cell rebalance --dry-run")
		}
	}
	if options.DryRun {
		return started, nil
	}
	started.Run, err = create(ctx, c, fmt.Sprintf("r-%d", ring.Status.Epoch+1), options)
	return started, err
}

// adopt makes the record anew of a run that the Ring is in the middle of, and whose record was deleted.
func (s *Started) adopt(ctx context.Context, c *client.Client, options StartOptions) error {
	s.Warnings = append(s.Warnings, fmt.Sprintf("the ring is in the middle of rebalance %s, whose record was deleted: it is made anew and goes on", s.Ring.Status.Rebalance))
	if options.DryRun {
		return nil
	}
	var err error
	s.Run, err = create(ctx, c, s.Ring.Status.Rebalance, options)
	return err
}

// create makes the record. That of a run which ended before it had an epoch may have the name already.
func create(ctx context.Context, c *client.Client, name string, options StartOptions) (*v1alpha1.Rebalance, error) {
	for n := 1; ; n++ {
		run := &v1alpha1.Rebalance{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: options.Spec}
		if n > 1 {
			run.Name = fmt.Sprintf("%s-%d", name, n)
		}
		if options.Detached {
			run.Annotations = map[string]string{v1alpha1.AnnotationDetached: "true"}
		}
		created, err := c.Rebalances().Create(ctx, run, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
		switch {
		case apierrors.IsAlreadyExists(err):
			if err := checkFree(ctx, c); err != nil {
				return nil, err
			}
			continue
		case apierrors.IsInvalid(err):
			return nil, exit.Errorf(exit.Usage, "create rebalance %s: %w", run.Name, err)
		case apierrors.IsForbidden(err):
			return nil, exit.Refusedf("create rebalance %s: %w", run.Name, err).
				WithHint("ask for the role kubecell-admin: kubectl create clusterrolebinding kubecell-admin-you --clusterrole=kubecell-admin --user=<you>")
		case err != nil:
			return nil, fmt.Errorf("create rebalance %s: %w", run.Name, err)
		}
		return created, nil
	}
}

// Unfinished is the run that has not ended, nil where there is none. Of several, which only hands can make,
// it is the one that the Ring is in, else the oldest.
func Unfinished(ctx context.Context, c *client.Client) (*v1alpha1.Rebalance, error) {
	list, err := c.Rebalances().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list rebalances: %w", err)
	}
	var found []*v1alpha1.Rebalance
	for i := range list.Items {
		if run := &list.Items[i]; !run.Status.Phase.Final() {
			found = append(found, run)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	if len(found) == 1 {
		return found[0], nil
	}
	ring, err := readRing(ctx, c)
	if err != nil {
		return nil, err
	}
	oldest := found[0]
	for _, run := range found {
		if run.Name == ring.Status.Rebalance {
			return run, nil
		}
		if run.CreationTimestamp.Before(&oldest.CreationTimestamp) {
			oldest = run
		}
	}
	return oldest, nil
}

func checkFree(ctx context.Context, c *client.Client) error {
	run, err := Unfinished(ctx, c)
	if err != nil || run == nil {
		return err
	}
	return exit.Refusedf("%w", &UnfinishedError{run}).WithHint("kubectl cell rebalance --attach   # or: pause, resume, abort")
}

func readRing(ctx context.Context, c *client.Client) (*v1alpha1.Ring, error) {
	ring, err := c.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, exit.Errorf(exit.Failure, "this control plane has no Ring %q: it is not a router control plane, or not initialised", v1alpha1.RingName).
			WithHint("kubectl cell init")
	}
	if err != nil {
		return nil, fmt.Errorf("read ring: %w", err)
	}
	return ring, nil
}

// planned finds the units that would move.
func planned(ctx context.Context, rcp *rest.Config, ring *v1alpha1.Ring, limit *v1alpha1.RebalanceLimit) (*migration.Found, error) {
	choice, err := chooser(limit)
	if err != nil {
		return nil, err
	}
	cells, err := (&fleet{rcp: rcp}).connect(ctx, cellsOf(ring.Status.Current, &ring.Spec.RingLayout))
	var unusable *cellsError
	if errors.As(err, &unusable) {
		refused := exit.Refusedf("%w", err).WithHint("kubectl cell status")
		for _, name := range slices.Sorted(maps.Keys(unusable.problems)) {
			refused = refused.WithHintOf(unusable.problems[name])
		}
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	snap, err := routing.Wanted(ring)
	if err != nil {
		return nil, err
	}
	return migration.Choose(ctx, cells, snap, choice)
}
