package rebalance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

// reasonRequest is that of the condition CellsUsable while a request fails that is no cell's.
const reasonRequest = "RequestFailed"

var (
	// errTurn leaves a phase because the run has to walk back.
	errTurn = errors.New("the run is aborted")
	// errSuperseded says that the Ring is in another epoch than this driver knew.
	errSuperseded = errors.New("the ring was changed by somebody else")
	// errEnded says that another driver has brought the run to its end, while this one was cut off or suspended: nothing is
	// left to do, and what the record says stays.
	errEnded = errors.New("another driver has ended the run")
)

// run is a driver's work on one run, while it holds the Lease.
type run struct {
	*Driver
	name    string
	kube    kubernetes.Interface
	client  *client.Client
	logger  *slog.Logger
	routers *routers.Crowd
	tracker *tracker
	publish *publisher
	wishes  *wishes
	fleet   *fleet
	barrier *barrier
	// opening is how far it has come to open what was closed to writes between cells that answer, while others do not.
	opening opening
	// fenced are the cells, in order, whose fence was found in force for the run to begin.
	fenced []string
	// rooms has one copy after the other ask for room in a quota.
	rooms sync.Mutex

	mu   sync.Mutex
	ring *v1alpha1.Ring // as it was written or read last, guarded by mu
}

func (r *run) waiting(blocking []routers.Router) { r.tracker.waiting(r.rcp.Now(), blocking) }

// drive brings the run to its end, or returns when ctx ends.
func (d *Driver) drive(ctx context.Context, kube kubernetes.Interface, kubecell *client.Client, name string) error {
	d.step(LeaseHeld)
	before, err := kubecell.Rebalances().Get(ctx, name, metav1.GetOptions{})
	if gone := deleted(name, err); gone != nil {
		return gone
	}
	if err != nil {
		return fmt.Errorf("read rebalance %s: %w", name, err)
	}
	if before.Status.Phase.Final() {
		return nil
	}
	r := &run{
		Driver: d, name: name, kube: kube, client: kubecell, logger: d.Logger.With("rebalance", name),
		tracker: newTracker(&before.Status, d.Identity), wishes: newWishes(before),
		fleet: &fleet{rcp: d.RCP, wrap: d.WrapCell},
	}
	if before.Status.Phase == v1alpha1.RebalancePaused && !before.Spec.Paused {
		// It was resumed while nobody drove.
		r.tracker.forgive()
		r.tracker.condition(v1alpha1.ConditionHealthy, true, "Healthy", "")
	}
	r.publish = &publisher{
		client: kubecell, tracker: r.tracker, logger: r.logger, tell: d.voice, told: before, run: before,
		record: newRecorder(kube, d.Identity, r.logger),
	}
	r.barrier = &barrier{}
	if r.routers, err = routers.NewCrowd(kube, r.waiting); err != nil {
		return err
	}
	r.tracker.condition(v1alpha1.ConditionDriven, true, "LeaseHeld", "")
	if err := r.attended(ctx); !errors.Is(err, errEnded) {
		return err
	}
	return nil
}

// attended runs what watches and writes beside the work.
func (r *run) attended(ctx context.Context) error {
	working, stop := context.WithCancelCause(ctx)
	beside, end := context.WithCancel(ctx)
	var others, recording sync.WaitGroup
	events, forgo := context.WithCancel(context.WithoutCancel(ctx))
	defer forgo()
	recording.Go(func() { r.publish.record.serve(events) })
	others.Go(func() { stop(r.publish.serve(beside)) })
	others.Go(func() {
		err := follow(beside, r.client, r.name, func(run *v1alpha1.Rebalance) bool {
			r.wishes.set(run) // first, since the publisher may be writing
			r.publish.saw(run)
			return !run.Status.Phase.Final() || r.tracker.final()
		})
		if err == nil {
			err = errEnded
		}
		stop(err) // otherwise the run was deleted, or beside has ended
	})
	r.routers.Start(beside)
	err := r.toTheEnd(working)
	if err != nil && context.Cause(working) != nil {
		err = context.Cause(working)
	}
	r.barrier.running.Wait()
	r.leave(ctx, err)
	end()
	others.Wait()
	r.routers.Wait()
	close(r.publish.record.queue)
	defer time.AfterFunc(recordTimeout, forgo).Stop()
	recording.Wait()
	stop(nil)
	return err
}

// leave says that nobody drives, where there is time to say so.
func (r *run) leave(ctx context.Context, err error) {
	if err == nil || errors.Is(err, errEnded) || errors.Is(context.Cause(ctx), lease.ErrLost) {
		return
	}
	r.tracker.condition(v1alpha1.ConditionDriven, false, "GaveUp", err.Error())
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), again)
	defer cancel()
	if err := r.publish.publish(ctx); err != nil {
		r.logger.Warn("cannot say that nobody drives", "err", err)
	}
}

// toTheEnd takes one phase after the other. What does not answer is asked again.
func (r *run) toTheEnd(ctx context.Context) error {
	for {
		if r.left() {
			return ErrLeft
		}
		err := r.read(ctx)
		var ended bool
		if err == nil {
			ended, err = r.phase(ctx)
		}
		var final *exit.Error
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case ended && err == nil:
			return nil
		case errors.As(err, &final):
			return final
		case errors.Is(err, ErrLeft), errors.Is(err, errEnded):
			return err
		case err == nil, errors.Is(err, errTurn), errors.Is(err, errSuperseded):
			continue
		}
		r.complain(err)
		wait := again
		if errors.Is(err, errInTheWay) {
			wait = inTheWayAgain
		}
		select {
		case <-ctx.Done():
		case <-r.Leaving:
		case <-time.After(wait):
		}
	}
}

// complain shows why the run does not go on.
func (r *run) complain(err error) {
	r.fenced = nil
	if !errors.Is(err, errFailover) { // which is nothing to worry about
		r.logger.Warn("the rebalance cannot go on, trying again", "err", err)
	}
	if errors.Is(err, errFailover) {
		r.tracker.condition(v1alpha1.ConditionCellsUsable, false, reasonFailover, err.Error())
		return
	}
	var cells *cellsError
	if errors.As(err, &cells) {
		r.tracker.unusable(cells.problems)
		return
	}
	reason := reasonRequest
	if errors.Is(err, errInTheWay) {
		reason = reasonInTheWay
	}
	r.tracker.condition(v1alpha1.ConditionCellsUsable, false, reason, err.Error())
}

// phase does what the Ring's phase asks for, and takes the run to the next one.
func (r *run) phase(ctx context.Context) (ended bool, err error) {
	s := r.known().Status
	if err := standstill(&s); err != nil {
		return false, err
	}
	r.tracker.moves()
	if s.Rebalance != r.name {
		return r.begin(ctx)
	}
	r.tracker.started(&s)
	if r.turns() {
		return false, r.back(ctx)
	}
	steps := map[v1alpha1.RingPhase]struct {
		shown                v1alpha1.RebalancePhase
		acknowledged, beyond StepName
		work                 func(context.Context) error
	}{
		v1alpha1.RingPreparing:   {v1alpha1.RebalancePreparing, PreparingAcknowledged, RebalancingWritten, nil},
		v1alpha1.RingRebalancing: {v1alpha1.RebalanceMoving, RebalancingAcknowledged, SettlingWritten, r.moveAll},
		v1alpha1.RingSettling:    {v1alpha1.RebalanceSettling, SettlingAcknowledged, StableWritten, r.settle},
		v1alpha1.RingStable:      {v1alpha1.RebalanceSettling, StableAcknowledged, Finished, nil},
	}
	step := steps[s.Phase]
	if s.Aborting {
		step.shown = v1alpha1.RebalanceAborting
	}
	r.tracker.phase(step.shown)
	if err := r.unlessAborted(ctx, func(ctx context.Context) error { return r.acknowledged(ctx, &s) }); err != nil {
		return false, err
	}
	r.waiting(nil)
	r.Driver.step(step.acknowledged)
	if step.work != nil {
		if err := step.work(ctx); err != nil {
			return false, err
		}
	}
	if s.Phase == v1alpha1.RingStable {
		return true, r.finish(ctx)
	}
	// Whoever goes on after the next step knows what moved by the record alone.
	if err := r.publish.publish(ctx); err != nil {
		return false, fmt.Errorf("write the status of rebalance %s: %w", r.name, err)
	}
	if err := r.mayAdvance(ctx, &s); err != nil {
		return false, err
	}
	return false, r.write(ctx, step.beyond, func(ring *v1alpha1.Ring) { advance(&ring.Status) })
}

// mayAdvance is errTurn where an abort was accepted before the next phase. A watch may tell that late, and whoever was told
// so must not see the run go on to where it is past recall. It is so with the write that makes the Ring Stable: the record
// says it before, in the version that was read, so that an abort comes before this and is seen, or after it and is refused.
func (r *run) mayAdvance(ctx context.Context, s *v1alpha1.RingStatus) error {
	for {
		run, err := r.listen(ctx)
		switch {
		case err != nil:
			return err
		case r.turns():
			return errTurn
		case s.Phase != v1alpha1.RingSettling || s.Aborting:
			return nil
		}
		err = r.publish.commit(ctx, run, s.Epoch+1)
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

// listen reads what is wanted of the run now. The error is errEnded where another driver has ended the run.
func (r *run) listen(ctx context.Context) (*v1alpha1.Rebalance, error) {
	run, err := r.client.Rebalances().Get(ctx, r.name, metav1.GetOptions{})
	if gone := deleted(r.name, err); gone != nil {
		return nil, gone
	}
	if err != nil {
		return nil, fmt.Errorf("read rebalance %s: %w", r.name, err)
	}
	if run.Status.Phase.Final() {
		return nil, errEnded
	}
	r.wishes.set(run)
	return run, nil
}

// turns says whether the run has to walk back and does not yet. At rest it is too late.
func (r *run) turns() bool {
	wish, _ := r.wishes.get()
	s := r.known().Status
	return wish.Abort && !s.Aborting && s.Phase != v1alpha1.RingStable
}

// back makes the run walk back. What is half moved is finished or undone before: routers look for it by the
// ring that it was marked in.
func (r *run) back(ctx context.Context) error {
	s := r.known().Status
	r.tracker.phase(v1alpha1.RebalanceAborting)
	if s.Phase == v1alpha1.RingRebalancing {
		if err := r.moveAll(ctx); err != nil && !errors.Is(err, errTurn) {
			return err
		}
		// Now that nothing is half moved, it says whether what has not moved can stay where it is.
		if _, _, err := r.search(ctx, nil); err != nil {
			return err
		}
	}
	next := PreparingWritten
	if s.Phase == v1alpha1.RingPreparing {
		next = StableWritten
	}
	r.tracker.restart()
	// Whoever goes on after the turn must not take the totals of the way there for those of the way back.
	if err := r.publish.publish(ctx); err != nil {
		return fmt.Errorf("write the status of rebalance %s: %w", r.name, err)
	}
	return r.write(ctx, next, func(ring *v1alpha1.Ring) { turn(&ring.Status) })
}

// unlessAborted ends a wait with errTurn when the run is to walk back, and with ErrLeft when this driver
// leaves.
func (r *run) unlessAborted(ctx context.Context, wait func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { // ends with ctx
		for {
			_, changed := r.wishes.get()
			if r.turns() {
				stop(errTurn)
			}
			select {
			case <-ctx.Done():
				return
			case <-r.Leaving:
				stop(ErrLeft)
				return
			case <-changed:
			}
		}
	}()
	if err := wait(ctx); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

func (r *run) settle(ctx context.Context) error {
	if r.Settle != nil {
		err := r.unlessAborted(ctx, func(ctx context.Context) error { return r.Settle(ctx, r.known()) })
		if err != nil {
			return err
		}
	}
	r.Driver.step(Settled)
	return nil
}

// finish says how the run ended.
func (r *run) finish(ctx context.Context) error {
	s := r.known().Status
	r.tracker.edit(func(p *v1alpha1.RebalanceProgress) { p.ToEpoch = s.Epoch })
	phase := v1alpha1.RebalanceSucceeded
	if s.Aborting {
		phase = v1alpha1.RebalanceAborted
	}
	return r.end(ctx, phase)
}

func (r *run) end(ctx context.Context, phase v1alpha1.RebalancePhase) error {
	now := toTheSecond()
	r.tracker.edit(func(p *v1alpha1.RebalanceProgress) { p.Phase, p.CompletionTime = phase, &now })
	for {
		err := r.publish.publish(ctx)
		if err == nil {
			r.Driver.step(Finished)
			return nil
		}
		if errors.Is(err, errEnded) {
			return err
		}
		if gone := deleted(r.name, err); gone != nil {
			return gone
		}
		r.logger.Warn("cannot write how the rebalance ended, trying again", "err", err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(again):
		}
	}
}
