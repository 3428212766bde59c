package failover

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// Started is what [Start] found and did.
type Started struct {
	// Run that was created, or that goes on; nil in a dry run and where Refused.
	Run *v1alpha1.Failover
	// Resumed says that the run was there.
	Resumed bool
	// Done is the run that has failed this cell over already; there is nothing to do.
	Done *v1alpha1.Failover
	// Finding is the report; nil where Resumed or Done.
	Finding *Finding
	Facts   *Facts
	// Refused says why no run was created; see [Gate].
	Refused error
}

// Premature says that the cell answered nobody any more but routers which had not noticed yet: they ask it every few
// seconds, and the same question has another answer soon.
func (s *Started) Premature() bool {
	return s.Refused != nil && !s.Facts.Answers && slices.ContainsFunc(s.Finding.Routers, func(r v1alpha1.FailoverRouter) bool { return r.SeesCell })
}

// Start looks at the cell, and creates the run that fails it over unless the gate refuses. A run that has not ended goes
// on; a drill makes way. A refusal is in Started, beside the report that explains it.
func Start(ctx context.Context, rcp *rest.Config, spec v1alpha1.FailoverSpec, dryRun bool) (*Started, error) {
	c, err := connect(rcp)
	if err != nil {
		return nil, err
	}
	ring, err := c.readRing(ctx)
	if err != nil {
		return nil, err
	}
	run, err := Unfinished(ctx, c.client)
	if err != nil {
		return nil, err
	}
	switch {
	case run == nil, mayFollow(&ring.Status, run, &spec), run.Spec.Drill && !spec.Drill:
	case run.Spec.Cell != spec.Cell, run.Spec.Drill != spec.Drill:
		return nil, notEnded(run)
	default:
		return &Started{Run: run, Resumed: true}, nil
	}
	if done, err := c.doneBefore(ctx, ring, spec.Cell); done != nil || err != nil {
		return &Started{Done: done}, err
	}
	if err := member(ring, spec.Cell); err != nil {
		return nil, err
	}
	return c.order(ctx, spec, dryRun)
}

func notEnded(run *v1alpha1.Failover) error {
	what, flag := "failover", ""
	if run.Spec.Drill {
		what, flag = "drill", " --drill"
	}
	return exit.Refusedf("%s %s of cell %s has not ended", what, run.Name, run.Spec.Cell).
		WithHint("kubectl cell failover %s%s   # goes on with it", run.Spec.Cell, flag)
}

// order makes the report, and creates the run where the gate lets it.
func (c *connection) order(ctx context.Context, spec v1alpha1.FailoverSpec, dryRun bool) (*Started, error) {
	facts, err := c.facts(ctx, spec.Cell, true)
	if err != nil {
		return nil, err
	}
	found, err := Report(facts)
	if err != nil {
		return nil, exit.Refusedf("%w", err)
	}
	started := &Started{Facts: facts, Finding: found}
	if spec.Drill && spec.ConfirmEpoch == 0 {
		spec.ConfirmEpoch = facts.Ring.Status.Epoch
	}
	if started.Refused = Gate(facts, &found.FailoverReport, &spec); started.Refused != nil || dryRun {
		return started, nil
	}
	spec.Direction = v1alpha1.DirectionFailover
	started.Run, err = c.create(ctx, &v1alpha1.Failover{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("fo-%d", facts.Ring.Status.Epoch+1)}, Spec: spec,
	})
	return started, err
}

// create makes the record. One that changed no epoch, or has not yet, may have the name already.
func (c *connection) create(ctx context.Context, run *v1alpha1.Failover) (*v1alpha1.Failover, error) {
	name := run.Name
	for n := 2; ; n++ {
		created, err := c.client.Failovers().Create(ctx, run, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
		switch {
		case apierrors.IsAlreadyExists(err):
			run.Name = fmt.Sprintf("%s-%d", name, n)
		case apierrors.IsForbidden(err):
			return nil, exit.Refusedf("create failover %s: %w", run.Name, err).
				WithHint("ask for the role kubecell-admin: kubectl create clusterrolebinding kubecell-admin-you --clusterrole=kubecell-admin --user=<you>")
		case err != nil:
			return nil, fmt.Errorf("create failover %s: %w", run.Name, err)
		default:
			return created, nil
		}
	}
}

// Unfinished is the failover that has not ended, nil where there is none. Of several it is the one that the others wait for:
// that of the newest epoch and, of those, the oldest; a drill comes last. A failback is none: the cell that it waits for may
// never come.
func Unfinished(ctx context.Context, c *client.Client) (*v1alpha1.Failover, error) {
	return unfinished(ctx, c, func(run *v1alpha1.Failover) bool { return run.Spec.Direction != v1alpha1.DirectionFailback })
}

// unfinishedFailback is one of a cell that has not ended, nil where there is none.
func unfinishedFailback(ctx context.Context, c *client.Client, cell string) (*v1alpha1.Failover, error) {
	return unfinished(ctx, c, func(run *v1alpha1.Failover) bool {
		return run.Spec.Direction == v1alpha1.DirectionFailback && run.Spec.Cell == cell
	})
}

func unfinished(ctx context.Context, c *client.Client, is func(*v1alpha1.Failover) bool) (*v1alpha1.Failover, error) {
	list, err := c.Failovers().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list failovers: %w", err)
	}
	var first *v1alpha1.Failover
	for i := range list.Items {
		run := &list.Items[i]
		if !run.Status.Phase.Final() && is(run) && (first == nil || before(run, first)) {
			first = run
		}
	}
	return first, nil
}

// before says which of two runs comes first.
func before(a, b *v1alpha1.Failover) bool {
	if a.Spec.Drill != b.Spec.Drill {
		return b.Spec.Drill
	}
	if a.Spec.ConfirmEpoch != b.Spec.ConfirmEpoch {
		return a.Spec.ConfirmEpoch > b.Spec.ConfirmEpoch
	}
	return a.CreationTimestamp.Before(&b.CreationTimestamp)
}

// doneBefore is the run that has failed the cell over, nil where it is not failed over. One whose record was deleted is
// made up.
func (c *connection) doneBefore(ctx context.Context, ring *v1alpha1.Ring, cell string) (*v1alpha1.Failover, error) {
	s := &ring.Status
	if !contains(s.Unavailable, cell) || contains(cellsOf(s), cell) || contains(s.Promoting, cell) {
		return nil, nil
	}
	last, err := c.lastFailover(ctx, cell)
	if last == nil && err == nil {
		last = &v1alpha1.Failover{Spec: v1alpha1.FailoverSpec{Cell: cell}}
	}
	return last, err
}

// lastFailover is the last run that has failed a cell over, nil where its record was deleted.
func (c *connection) lastFailover(ctx context.Context, cell string) (*v1alpha1.Failover, error) {
	list, err := c.client.Failovers().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list failovers: %w", err)
	}
	var last *v1alpha1.Failover
	for i := range list.Items {
		run := &list.Items[i]
		if run.Spec.Cell == cell && run.Status.Phase == v1alpha1.FailoverSucceeded && !run.Spec.Drill && run.Spec.Direction == v1alpha1.DirectionFailover &&
			(last == nil || last.CreationTimestamp.Before(&run.CreationTimestamp)) {
			last = run
		}
	}
	return last, nil
}
