package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/pause"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

// run is a driver's work on one run, while it holds the Lease.
type run struct {
	*Driver
	c        *connection
	name     string
	spec     v1alpha1.FailoverSpec
	cell     string
	logger   *slog.Logger
	routers  *routers.Crowd
	progress *progress
	// silent: the cell was asked a moment ago, and did not answer.
	silent bool
	// heard are the routers that said before the fence what they know; nil where another driver has asked
	// them.
	heard []string
	// told is what routers have said for this driver's reports; report is the preflight's, by whichever driver.
	told   []Witness
	report *v1alpha1.FailoverReport
	// deleted are the UIDs of the cell's objects that routers knew to be deleted after the fence; nil where another driver
	// has asked them.
	deleted map[types.UID]bool
}

func newRun(d *Driver, c *connection, record *v1alpha1.Failover) (*run, error) {
	r := &run{
		Driver: d, c: c, name: record.Name, spec: record.Spec, cell: record.Spec.Cell,
		logger:   d.Logger.With("failover", record.Name, "cell", record.Spec.Cell),
		progress: newProgress(c, record, d.Tell), report: record.Status.Report,
	}
	var err error
	r.routers, err = routers.NewCrowd(c.kube, r.progress.waiting)
	return r, err
}

// attended works while the Lease is held, and watches the routers meanwhile.
func (r *run) attended(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	defer r.routers.Wait()
	defer stop()
	r.routers.Start(watching)
	return r.progress.attended(ctx, r.Identity, r.logger, r.toTheEnd)
}

// toTheEnd takes one step after the other. What does not answer is asked again.
func (r *run) toTheEnd(ctx context.Context) error {
	for {
		ended, err := r.next(ctx)
		var final *exit.Error
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case ended:
			return err
		case errors.Is(err, errYield):
			return err
		case errors.As(err, &final):
			return final
		case err == nil:
			continue
		}
		r.logger.Warn("the failover cannot go on, trying again", "err", err)
		r.progress.condition(v1alpha1.ConditionCellsUsable, false, "RequestFailed", err.Error())
		if err := pause.For(ctx, again); err != nil {
			return err
		}
	}
}

// next reads the Ring and takes the step that it asks for.
func (r *run) next(ctx context.Context) (ended bool, err error) {
	ring, err := r.c.readRing(ctx)
	if err != nil {
		return false, passing(err)
	}
	if r.spec.Drill {
		return r.rehearse(ctx, ring)
	}
	switch stageOf(&ring.Status, r.cell) {
	case untouched:
		return r.preflight(ctx)
	case fenced:
		return r.leaveRing(ctx, ring)
	case left:
		if err := r.yield(ctx); err != nil {
			return false, err
		}
		return false, r.unlessSucceeded(ctx, func(ctx context.Context) error { return r.promoteAll(ctx, ring) })
	}
	r.dropLeftovers(ctx, ring)
	return true, r.finish(ctx, ring, v1alpha1.FailoverSucceeded)
}

// passing makes an error one to try again after: a run that has begun waits for the RCP.
func passing(err error) error { return fmt.Errorf("%s", err.Error()) } //nolint:errorlint // what it wraps must not show

// preflight looks once more, and fences the cell off.
func (r *run) preflight(ctx context.Context) (ended bool, err error) {
	r.progress.begin(StepPreflight)
	facts, err := r.c.facts(ctx, r.cell, true)
	if err != nil {
		return false, passing(err)
	}
	r.silent, r.heard, r.told = !facts.Answers, facts.heard(), remember(nil, facts.Witnesses)
	found, err := Report(facts)
	if err == nil {
		r.report = &found.FailoverReport
		r.progress.edit(func(s *v1alpha1.FailoverStatus) {
			s.Report, s.FromEpoch = &found.FailoverReport, facts.Ring.Status.Epoch
		})
		err = Gate(facts, &found.FailoverReport, &r.spec)
	}
	if err != nil {
		return true, r.refuse(ctx, facts.Ring, err)
	}
	r.progress.done(StepPreflight, Summary(&found.FailoverReport))
	// Whoever goes on after the next step knows by the record alone what routers said before it.
	if err := r.progress.publish(ctx); err != nil {
		return false, err
	}
	r.Driver.step(StepPreflight)
	r.progress.begin(StepFence)
	return false, r.write(ctx, facts.Ring, StepFence, func(s *v1alpha1.RingStatus) { fenceOff(s, r.name, r.cell) })
}

// Summary is a report in one line.
func Summary(found *v1alpha1.FailoverReport) string {
	return fmt.Sprintf("%d of %d protected, %d lost, %d stale, %d corrupt", found.Protected, found.Workloads, found.Lost, found.Stale, found.Corrupt)
}

// refuse ends a run that changed nothing.
func (r *run) refuse(ctx context.Context, ring *v1alpha1.Ring, why error) error {
	r.progress.done(StepPreflight, "refused: "+why.Error())
	if err := r.finish(ctx, ring, v1alpha1.FailoverRefused); err != nil {
		return err
	}
	return why
}

// finish says how the run ended.
func (r *run) finish(ctx context.Context, ring *v1alpha1.Ring, phase v1alpha1.FailoverPhase) error {
	now := metav1.Now()
	r.progress.edit(func(s *v1alpha1.FailoverStatus) {
		s.Phase, s.ToEpoch, s.CompletionTime = phase, ring.Status.Epoch, &now
	})
	if phase == v1alpha1.FailoverSucceeded && !r.spec.Drill {
		r.progress.done(StepEnd, "")
	}
	for {
		err := r.progress.publish(ctx)
		if err == nil || apierrors.IsNotFound(err) {
			return nil
		}
		r.logger.Warn("cannot write how the failover ended, trying again", "err", err)
		if err := pause.For(ctx, again); err != nil {
			return err
		}
	}
}

// write changes Ring.status in the version that was read; a conflict is looked at anew.
func (r *run) write(ctx context.Context, ring *v1alpha1.Ring, step StepName, change func(*v1alpha1.RingStatus)) error {
	next := ring.DeepCopy()
	change(&next.Status)
	_, err := r.c.client.Rings().UpdateStatus(ctx, next, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
	if apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write ring: %w", err)
	}
	r.Driver.step(step)
	return nil
}

// acknowledged waits for the routers, in the epoch of the ring.
func (r *run) acknowledged(ctx context.Context, ring *v1alpha1.Ring) error {
	if err := r.routers.Await(ctx, ring.Status.Epoch, 0, r.awaited(ctx)); err != nil {
		return err
	}
	r.progress.waiting(nil)
	return nil
}
