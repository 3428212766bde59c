package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/pause"
)

const (
	// freezeTimeout is how long a cell may take to be frozen. It is not needed: no router uses it.
	freezeTimeout = 10 * time.Second
	// catchUp is the default of [Driver.CatchUp].
	catchUp = 15 * time.Second
)

// leaveRing waits for the fence, freezes the cell, makes sure that no more is lost than was agreed to, and takes the
// cell out of the ring.
func (r *run) leaveRing(ctx context.Context, ring *v1alpha1.Ring) (ended bool, err error) {
	r.progress.begin(StepFence)
	if err := r.acknowledged(ctx, ring); err != nil {
		return false, err
	}
	r.progress.done(StepFence, fmt.Sprintf("epoch %d", ring.Status.Epoch))
	r.progress.begin(StepFreeze)
	said, err := r.freeze(ctx)
	if err != nil {
		return false, err
	}
	r.progress.done(StepFreeze, said)
	r.Driver.step(StepFreeze)
	found, err := r.settled(ctx)
	if err != nil {
		return false, err
	}
	if loss := Loss(&found.FailoverReport); loss > r.spec.AcceptLoss {
		return r.takeBack(ctx, ring, loss)
	}
	if err := r.drop(ctx, found.Resurrected); err != nil {
		return false, err
	}
	if err := r.progress.publish(ctx); err != nil {
		return false, err
	}
	r.progress.begin(StepRing)
	if err := r.unwant(ctx); err != nil {
		return false, err
	}
	fresh, err := r.c.readRing(ctx)
	if err != nil {
		return false, passing(err)
	}
	if fresh.Status.Epoch != ring.Status.Epoch {
		return false, nil // somebody else has gone on
	}
	return false, r.write(ctx, fresh, StepRing, func(s *v1alpha1.RingStatus) { takeOut(s, r.cell, unread(&found.FailoverReport)) })
}

// freeze does what can be done to the cell itself.
func (r *run) freeze(ctx context.Context) (string, error) {
	access, err := federation.Cells(ctx, r.c.rcp)
	if err != nil {
		return "", passing(err)
	}
	a, exists := access[r.cell]
	if !exists {
		return "there is no such Cell any more", nil
	}
	bounded, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	patience := askTimeout
	if r.silent {
		patience = askAgainTimeout
	}
	config, err := a.Config, a.Err
	var state Frozen
	if err == nil {
		state = freeze(bounded, patience, wrapped(config, r.cell, r.WrapCell), wrappedAll(a.Endpoints, r.cell, r.WrapCell))
	} else {
		state = Frozen{Reason: v1alpha1.ReasonFreezeFailed, Message: err.Error()}
	}
	r.silent = state.Reason == v1alpha1.ReasonFreezeUnreachable
	said := state.String()
	if r.silent && maybeFrozen(&a.Cell) {
		// It has to be thawed should the fence be taken back, and to be frozen anew if not.
		state = Frozen{Reason: v1alpha1.ReasonFreezeFailed, Message: "it does not answer, and may be frozen from before"}
	}
	if err := sayFrozen(ctx, r.c.client, r.cell, state); err != nil {
		return "", passing(err)
	}
	return said, ctx.Err()
}

// settled makes the report that counts, now that no router lets a write to the cell pass. While more is lost by it than was
// accepted it is made again for some time: the backup of a cell that answers may come level, and a survivor that is silent may
// answer. So it is while a router is silent that was heard before the fence, for nobody else may know what it acknowledged.
// A cell that did not answer a moment ago is asked again only where the first report does not do.
func (r *run) settled(ctx context.Context) (*Finding, error) {
	for began, ask := time.Now(), !r.silent; ; ask = true {
		facts, err := r.c.facts(ctx, r.cell, ask, r.told...)
		if err != nil {
			return nil, passing(err)
		}
		if r.heard == nil { // another driver has heard what routers said before the fence
			facts.Named = namedBefore(r.report, facts.Witnesses)
		}
		r.told, r.deleted = remember(r.told, facts.Witnesses), facts.deletions()
		found, err := Report(facts)
		if err != nil {
			return nil, exit.Errorf(exit.Failure, "%w", err)
		}
		found.carry(r.report, facts.Witnesses)
		r.progress.edit(func(s *v1alpha1.FailoverStatus) { s.Report = &found.FailoverReport })
		unheard := facts.silenced(r.heard)
		switch {
		case Loss(&found.FailoverReport) <= r.spec.AcceptLoss && !unheard:
			return found, nil
		case !ask:
			continue
		case !facts.Answers && !facts.silent() && !unheard || time.Since(began) > r.CatchUp:
			return found, nil
		}
		if err := pause.For(ctx, again/2); err != nil {
			return nil, err
		}
	}
}

// takeBack lets the cell be used again: more is lost than was agreed to.
func (r *run) takeBack(ctx context.Context, ring *v1alpha1.Ring, loss int64) (ended bool, err error) {
	why := exit.Refusedf("%d objects would be lost or lack a write, %d were accepted: more was acknowledged before the fence; the fence is taken back",
		loss, r.spec.AcceptLoss).WithHint("kubectl cell failover %s", r.cell)
	access, err := federation.Cells(ctx, r.c.rcp)
	if err != nil {
		return false, passing(err)
	}
	if a := access[r.cell]; a.Config != nil {
		if err := r.letGo(ctx, &a); err != nil {
			return false, err
		}
	}
	// An earlier look may have gone as far as that the cell was not wanted any more.
	if err := r.wantAgain(ctx); err != nil {
		return false, err
	}
	fresh, err := r.c.readRing(ctx)
	if err != nil {
		return false, passing(err)
	}
	if fresh.Status.Epoch != ring.Status.Epoch {
		return false, nil // somebody else has gone on
	}
	if err := r.write(ctx, fresh, StepFence, func(s *v1alpha1.RingStatus) { unfence(s, r.cell) }); err != nil {
		return false, err
	}
	fresh, err = r.c.readRing(ctx)
	if err != nil {
		return false, passing(err)
	}
	if stageOf(&fresh.Status, r.cell) != untouched {
		return false, nil // the write met another one
	}
	r.progress.done(StepFence, "taken back")
	return true, errors.Join(r.finish(ctx, fresh, v1alpha1.FailoverRefused), why)
}

// letGo thaws the cell. One that does not answer any more is left to a [Guard], which thaws it when it does: the run must
// not wait for a cell that may be dead.
func (r *run) letGo(ctx context.Context, a *federation.Access) error {
	bounded, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	err := Thaw(bounded, wrapped(a.Config, r.cell, r.WrapCell), wrappedAll(a.Endpoints, r.cell, r.WrapCell)...)
	if err != nil && maybeFrozen(&a.Cell) {
		r.logger.Warn("cannot thaw the cell, which a backup daemon does once it answers", "err", err)
		return nil
	}
	if err := sayFrozen(ctx, r.c.client, r.cell, Frozen{Reason: v1alpha1.ReasonThawed, Message: "the fence was taken back"}); err != nil {
		return passing(err)
	}
	return nil
}

// unwant takes the cell out of the wanted ring, where the next rebalance would bring it back from. The record has what it was there
// before it is gone, and nothing where somebody else has taken it out.
func (r *run) unwant(ctx context.Context) error {
	tried := false
	return r.changeWanted(ctx, func(members []v1alpha1.RingMember) ([]v1alpha1.RingMember, error) {
		i := slices.IndexFunc(members, r.isOurs)
		switch {
		case i < 0 && tried: // somebody was faster
			r.tookOut(nil)
			return members, nil
		case i < 0:
			return members, nil
		}
		tried = true
		was := members[i]
		r.tookOut(&was)
		return leave(members, r.cell), r.progress.publish(ctx)
	})
}

// wantAgain takes it back as it was, where the run has taken it out: a rebalance would empty it otherwise. A cell that was drained
// meanwhile stays so.
func (r *run) wantAgain(ctx context.Context) error {
	was := r.progress.read().Member
	if was == nil {
		return nil
	}
	err := r.changeWanted(ctx, func(members []v1alpha1.RingMember) ([]v1alpha1.RingMember, error) {
		if slices.ContainsFunc(members, r.isOurs) {
			return members, nil
		}
		return append(members, *was), nil
	})
	if err == nil {
		r.tookOut(nil)
	}
	return err
}

func (r *run) isOurs(m v1alpha1.RingMember) bool { return m.Cell == r.cell }

// tookOut puts down what the run takes out of the wanted ring; nil for that it has taken nothing out, or has put it back.
func (r *run) tookOut(member *v1alpha1.RingMember) {
	r.progress.edit(func(s *v1alpha1.FailoverStatus) { s.Member = member })
}

// changeWanted changes the members of the wanted ring.
func (r *run) changeWanted(ctx context.Context, change func([]v1alpha1.RingMember) ([]v1alpha1.RingMember, error)) error {
	for {
		ring, err := r.c.readRing(ctx)
		if err != nil {
			return passing(err)
		}
		n := len(ring.Spec.Members)
		if ring.Spec.Members, err = change(ring.Spec.Members); err != nil || len(ring.Spec.Members) == n {
			return err
		}
		_, err = r.c.client.Rings().Update(ctx, ring, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		if err == nil || !apierrors.IsConflict(err) {
			if err != nil {
				return fmt.Errorf("write the wanted ring: %w", err)
			}
			return nil
		}
	}
}
