package launch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// defaultGrace is more than a router takes to finish the writes that it has passed on.
const defaultGrace = 90 * time.Second

const graceFlag = "grace-period"

type stopOptions struct {
	program  Program
	stateDir string
	grace    time.Duration
}

func newStop(p Program) *cobra.Command {
	o := &stopOptions{program: p}
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "End the " + p.Noun + " of this machine",
		Long: "End the " + p.Noun + " of this machine: it finishes what it has begun, and is killed when\n" +
			"that takes longer than the grace period. Where none runs, nothing is done.",
		Example: p.example("End it", "stop") + "\n\n" + p.example("The second one of this machine", "stop --state-dir /var/lib/kubectl-cell/"+p.Name+"-2"),
		Args:    cobra.NoArgs,
		RunE:    command.RunE(o),
	}
	p.stateDirFlag(cmd.Flags(), &o.stateDir)
	cmd.Flags().DurationVar(&o.grace, graceFlag, defaultGrace, "How long it gets to end by itself")
	return cmd
}

// Complete checks the flags.
func (o *stopOptions) Complete([]string) error { return checkGrace(o.grace) }

func checkGrace(grace time.Duration) error {
	if grace < 0 {
		return exit.Flagf(graceFlag, grace, "not be negative").WithHint("--%s %s", graceFlag, defaultGrace)
	}
	return nil
}

// Run ends the daemon.
func (o *stopOptions) Run(ctx context.Context) error {
	p := o.program
	at, err := p.find(o.stateDir)
	if err != nil {
		return err
	}
	begin := p.Env.Clock.Now()
	stopped, err := daemon.Stop(ctx, at.lock(), o.grace)
	if err != nil {
		return err
	}
	if !stopped {
		if err := tidy(at); err != nil {
			return err
		}
		fmt.Fprintf(p.Env.Out, "%s is not running; nothing to do\n", p.Noun)
		p.noteHidden(at, "stop", "sudo systemctl stop "+p.Unit())
		return nil
	}
	fmt.Fprintf(p.Env.Out, "%s stopped in %s\n", p.Noun, p.Env.Clock.Since(begin).Round(100*time.Millisecond))
	if at.unit {
		fmt.Fprintf(p.Env.ErrOut, "undo: sudo systemctl start %s\n", p.Unit())
	} else if had, err := readSettings(at.dir); err == nil && had != nil {
		fmt.Fprintf(p.Env.ErrOut, "undo: %s\n", p.hint(at, "restart"))
	}
	return nil
}

// tidy takes away what a crash has left in the lock, while nobody holds it.
func tidy(at place) error {
	left, err := daemon.Left(at.lock())
	if err != nil || left.PID == 0 {
		return err
	}
	lock, err := daemon.AcquireLock(at.lock())
	var held *daemon.HeldError
	if errors.As(err, &held) {
		return nil // somebody has started one meanwhile
	}
	if err != nil {
		return command.Unusable(at.dir, err)
	}
	return lock.Release()
}
