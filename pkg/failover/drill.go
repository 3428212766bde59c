package failover

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// rehearse carries a drill out, unless a failover is ordered: that must neither wait for it nor be taken for it.
func (r *run) rehearse(ctx context.Context, ring *v1alpha1.Ring) (ended bool, err error) {
	if err := member(ring, r.cell); err != nil {
		return true, r.refuse(ctx, ring, err)
	}
	if err = r.yield(ctx); err == nil {
		err = r.unlessSucceeded(ctx, func(ctx context.Context) (err error) {
			ended, err = r.drill(ctx, ring)
			return err
		})
	}
	if errors.Is(err, errYield) {
		return true, r.refuse(ctx, ring, exit.Refusedf("a failover was ordered, for which the drill makes way").WithHint("kubectl cell history"))
	}
	return ended, err
}

// drill rehearses every step that writes nothing on the live ring: the report, the routers' acknowledgement of the
// epoch that they serve, whether the cell answers to be frozen, and every copy read to its end and checked against its
// hash.
func (r *run) drill(ctx context.Context, ring *v1alpha1.Ring) (ended bool, err error) {
	r.progress.begin(StepPreflight)
	facts, err := r.c.facts(ctx, r.cell, true)
	if err != nil {
		return false, passing(err)
	}
	found, err := Report(facts)
	if err != nil {
		return true, r.refuse(ctx, ring, err)
	}
	r.progress.edit(func(s *v1alpha1.FailoverStatus) {
		s.Report, s.FromEpoch = &found.FailoverReport, ring.Status.Epoch
	})
	r.progress.done(StepPreflight, Summary(&found.FailoverReport))
	r.progress.begin(StepFence)
	bounded, cancel := context.WithTimeout(ctx, r.DrillPatience)
	defer cancel()
	if err := r.acknowledged(bounded, ring); err != nil {
		if bounded.Err() == nil || ctx.Err() != nil {
			return false, err
		}
		why := exit.Refusedf("not every router acknowledges epoch %d within %s: %s", ring.Status.Epoch, r.DrillPatience, strings.Join(found.Blockers, "; ")).
			WithHint("kubectl cell router forget NAME   # once it is known dead, or --ignore-router=NAME")
		r.progress.done(StepFence, "refused: "+why.Error())
		return true, errors.Join(r.finish(ctx, ring, v1alpha1.FailoverRefused), why)
	}
	r.progress.done(StepFence, fmt.Sprintf("every router acknowledges epoch %d", ring.Status.Epoch))
	r.progress.begin(StepFreeze)
	access, err := federation.Cells(ctx, r.c.rcp)
	if err != nil {
		return false, passing(err)
	}
	r.progress.done(StepFreeze, rehearseFreeze(ctx, access, r.cell))
	r.progress.begin(StepPromote)
	opened, kept := damagedIn(facts)
	r.progress.edit(func(s *v1alpha1.FailoverStatus) {
		s.KeptObjects, s.Kept = int64(len(kept)), kept[:min(len(kept), maxKept)]
	})
	r.progress.done(StepPromote, fmt.Sprintf("%d copies opened, %d of them corrupt", opened, len(kept)))
	return true, r.finish(ctx, ring, v1alpha1.FailoverSucceeded)
}

// rehearseFreeze says what would become of a freeze.
func rehearseFreeze(ctx context.Context, access map[string]federation.Access, cell string) string {
	if answers(ctx, access, cell) != nil {
		return "the cell does not answer, and would be frozen when it does"
	}
	found, err := fence.CheckFrozen(ctx, within(access[cell].Config, askTimeout))
	switch {
	case err != nil:
		return "the cell answers, and it is not known whether it could be frozen: " + err.Error()
	case found.State == fence.Unsupported:
		return "the cell answers, and would not be frozen: " + fence.ErrUnsupported.Error()
	}
	return "the cell answers, and would be frozen"
}

// damagedIn counts the copies, which the report has read to their end, and names those that are of no use.
func damagedIn(facts *Facts) (opened int, kept []v1alpha1.FailoverKept) {
	for _, s := range facts.Survivors {
		for i := range s.Copies {
			opened++
			if c := &s.Copies[i]; c.Corrupt != nil {
				kept = append(kept, v1alpha1.FailoverKept{
					Object: Key("", "secrets", v1alpha1.Namespace, c.Secret), Cell: s.Cell, Reason: "Corrupt", Message: c.Corrupt.Error(),
				})
			}
		}
	}
	return opened, kept
}
