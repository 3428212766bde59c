package launch

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

type restartOptions struct {
	starter
	grace time.Duration
}

func newRestart(p Program) *cobra.Command {
	o := &restartOptions{starter: starter{program: p}}
	cmd := &cobra.Command{
		Use:   "restart",
		Short: "End the " + p.Noun + " of this machine and start it again",
		Long: "End the " + p.Noun + " of this machine and start it again, with the flags that it was last\n" +
			"started with. Flags that are given now replace those, each by itself. All of them are checked before\n" +
			"anything is ended.\n\n" +
			"Where none runs, it is started. Refused (exit code 4) where a service manager would start it at the same\n" +
			"time, or has it in its care.",
		Example: p.example("Use a new build", "restart") + "\n\n" + p.example("Put the log aside at 10 MiB from now on", "restart --log-max-size 10"),
		Args:    cobra.NoArgs,
		RunE:    command.RunE(o),
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().DurationVar(&o.grace, graceFlag, defaultGrace, "How long it gets to end by itself")
	return cmd
}

// Complete adds the flags of the last start, and checks them all.
func (o *restartOptions) Complete(args []string) error {
	if err := checkGrace(o.grace); err != nil {
		return err
	}
	given := ""
	if flag := o.flags.Lookup("state-dir"); flag != nil {
		given = flag.Value.String()
	}
	at, err := o.program.find(given)
	if err != nil {
		return err
	}
	had, err := readSettings(at.dir)
	if err != nil {
		return err
	}
	if at.unit || at.hidden != "" && had == nil {
		return exit.Refusedf("the %s of this machine is one of systemd: its state is in %s", o.program.Noun, cmp.Or(at.hidden, at.dir)).
			WithHint("sudo systemctl restart %s", o.program.Unit())
	}
	if err := had.apply(o.flags); err != nil {
		return err
	}
	return o.starter.Complete(args)
}

// Run ends and starts.
func (o *restartOptions) Run(ctx context.Context) error {
	p := o.program
	at, err := p.placeOf(o.runner.Directory())
	if err != nil {
		return err
	}
	holder, held, err := daemon.Inspect(at.lock())
	if err != nil {
		return err
	}
	if held && holder.Supervisor != "" {
		return exit.Refusedf("the %s (pid %d) was started by %s, which would start it again at the same time", p.Noun, holder.PID, holder.Supervisor).
			WithHint("systemctl status %d names its unit; then: systemctl restart UNIT", holder.PID)
	}
	if _, err := daemon.Stop(ctx, at.lock(), o.grace); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the %s was ended and not started again: %w", p.Noun, ctx.Err())
	}
	return o.start(ctx, at, "restarted")
}
