package rebalance

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// conclude says how the run ended, or how it goes on.
func (s *session) conclude(ctx context.Context, run *v1alpha1.Rebalance, err error) error {
	if err == nil && run != nil {
		return s.ended(ctx, run)
	}
	if !s.given(err) {
		return err
	}
	// ctx may have ended, and that is what has to be explained.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askPatience)
	defer cancel()
	var progress rebalance.Progress
	run, err = s.fed.Cell.Rebalances().Get(ctx, s.name, metav1.GetOptions{})
	if err == nil {
		progress = rebalance.ProgressOf(&run.Status)
		if run.Status.Phase.Final() {
			return s.ended(ctx, run)
		}
	}
	if s.self == "" {
		how := "goes on"
		if run != nil && run.Status.Phase == v1alpha1.RebalancePaused {
			how = "is paused"
		}
		fmt.Fprintf(s.env.ErrOut, "rebalance %s %s: %s\n", s.name, how, moved(progress))
		fmt.Fprintf(s.env.ErrOut, "next: %s rebalance --attach      undo: %s rebalance abort\n", s.env.Program, s.env.Program)
		return s.code()
	}
	if err != nil {
		s.sayUnknown(err)
		return s.code()
	}
	successor, _ := command.BackupDaemonRuns(ctx, s.fed) // not known is no
	s.sayLeft(progress, successor, run.Spec.Paused)
	return s.code()
}

// ended is the summary that stays on the terminal.
func (s *session) ended(ctx context.Context, run *v1alpha1.Rebalance) error {
	again := fmt.Sprintf("%s rebalance --window %d", s.env.Program, run.Spec.Window)
	if run.Status.Phase != v1alpha1.RebalanceSucceeded {
		return exit.Errorf(exit.Failure, "rebalance %s is %s: the current ring is the one before it; the wanted ring still differs", run.Name, run.Status.Phase).
			WithHint("%s diff ; %s%s", s.env.Program, again, limitFlags(run.Spec.Limit))
	}
	if s.output.Format != "json" {
		fmt.Fprintln(s.env.Out, summary(run))
	}
	if s.before == nil || s.after == nil || s.output.Format == "json" {
		return nil
	}
	undo := back(s.env.Program, s.before, s.after)
	if len(undo) > 0 {
		fmt.Fprintf(s.env.ErrOut, "undo, at any time: %s\n", strings.Join(append(undo, again), " ; "))
	}
	if edited := editedSince(ctx, s.fed); edited != "" {
		fmt.Fprintf(s.env.ErrOut, "%s\nnext: %s diff ; %s\n", edited, s.env.Program, again)
	}
	return nil
}

func summary(run *v1alpha1.Rebalance) string {
	p := rebalance.ProgressOf(&run.Status)
	text := fmt.Sprintf("rebalance %s %s: %s units moved", run.Name, run.Status.Phase, printers.Count(p.Moved))
	if run.Status.StartTime != nil && run.Status.CompletionTime != nil {
		text += " in " + printers.Took(run.Status.StartTime.Time, run.Status.CompletionTime.Time)
	}
	text += fmt.Sprintf(", epoch %d → %d", run.Status.FromEpoch, run.Status.ToEpoch)
	if b := p.WriteBlock; b != nil {
		text += fmt.Sprintf(", write-block p50 %.2fs p99 %.2fs max %.2fs", b.P50.Seconds(), b.P99.Seconds(), b.Max.Seconds())
	}
	return text
}

// sayLeft says what becomes of a run that this process drove.
func (s *session) sayLeft(p rebalance.Progress, successor, isPaused bool) {
	out := s.env.ErrOut
	fmt.Fprintf(out, "rebalance %s is left: %s\n", s.name, moved(p))
	if p.InFlight > 0 {
		s.env.Warn("%d units were still in flight after %s; they refuse writes until somebody drives the run", p.InFlight, leaveGrace)
	}
	switch {
	case isPaused:
		fmt.Fprintf(out, "it is paused; next: %s rebalance resume", s.env.Program)
		if !successor {
			fmt.Fprintf(out, " ; %s rebalance   # no backup daemon runs", s.env.Program)
		}
		fmt.Fprintln(out)
	case successor:
		fmt.Fprintf(out, "the backup daemon goes on; next: %s rebalance --attach\n", s.env.Program)
	default:
		fmt.Fprintf(out, "nobody goes on, since no backup daemon runs; next: %s rebalance\n", s.env.Program)
	}
	fmt.Fprintf(out, "undo: %s rebalance abort   # until it has ended\n", s.env.Program)
}

// sayUnknown says what becomes of a run that cannot be looked at.
func (s *session) sayUnknown(err error) {
	out := s.env.ErrOut
	fmt.Fprintf(out, "rebalance %s is left; how far it is cannot be asked: %v\n", s.name, err)
	how := "a backup daemon goes on when the router control plane is back, or you do"
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		how = "a backup daemon goes on, or you do when the router control plane lets you in again"
	}
	fmt.Fprintf(out, "%s; next: %s rebalance\n", how, s.env.Program)
	fmt.Fprintf(out, "undo: %s rebalance abort   # until it has ended\n", s.env.Program)
}

func moved(p rebalance.Progress) string {
	return fmt.Sprintf("%s of %s units moved", printers.Count(p.Moved), printers.Count(p.Total))
}

// code is how the command ends for one who left.
func (s *session) code() error {
	switch s.left() {
	case timedOut:
		return exit.Errorf(exit.TimedOut, "rebalance %s has not ended after %s", s.name, s.timeout).
			WithHint("%s rebalance --attach", s.env.Program)
	case stuck:
		return exit.Errorf(exit.Partial, "rebalance %s has paused itself: %s", s.name, s.stoppedBecause()).
			WithHint("%s rebalance status   # says what failed; then: %s rebalance resume", s.env.Program, s.env.Program)
	case satisfied:
		return nil
	case staying, interrupted, detached, paused:
	}
	return exit.Silent(exit.Detached)
}

func (s *session) stoppedBecause() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.stopped
}
