package sandbox

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

// faults in the order in which they are listed.
func faults() []struct {
	fault       sandbox.Fault
	short, long string
	undo        sandbox.Fault
} {
	return []struct {
		fault       sandbox.Fault
		short, long string
		undo        sandbox.Fault
	}{
		{sandbox.Kill, "End a cell as a power cut would",
			"End the control plane of a cell as a power cut would (SIGKILL). Its data stays.", sandbox.Restart},
		{sandbox.Pause, "Stop a cell where it stands",
			"Stop the control plane of a cell where it stands (SIGSTOP): it accepts connections and does not answer.\n" +
				"It goes on with what it was doing when it is resumed.", sandbox.Resume},
		{sandbox.Partition, "Take a cell away from routers and daemons",
			"Take a cell away from the federation: routers and daemons are refused. The cell runs on, and its own\n" +
				"controllers and whoever connects to it directly still write to it.", sandbox.Resume},
		{sandbox.Restart, "Start a cell, or end it in order and start it again",
			"Start the control plane of a cell with its data. One that runs is ended in order first.", ""},
		{sandbox.Resume, "Let a paused or partitioned cell go on",
			"Let a paused cell go on, and end a partition.", ""},
	}
}

type chaosOptions struct {
	progress
	cmd     *cobra.Command
	fault   sandbox.Fault
	undo    sandbox.Fault
	sandbox string
	cell    string
}

func newChaos(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Break a cell of a sandbox, for rehearsals",
		Long: "Break a cell of a sandbox, to rehearse what happens then, or mend it. The sandbox is the one of the\n" +
			"context in use, or the one that --name gives. Whatever is not a sandbox of this machine is refused.",
		Example: "  # Lose a cell, look, and bring it back\n  " + env.Program + " sandbox chaos kill cell-1\n  " +
			env.Program + " status\n  " + env.Program + " sandbox chaos restart cell-1",
	}
	for _, f := range faults() {
		o := &chaosOptions{progress: progress{env: env}, fault: f.fault, undo: f.undo}
		o.cmd = &cobra.Command{
			Use: string(f.fault) + " CELL", Short: f.short, Long: f.long,
			Example: "  " + env.Program + " sandbox chaos " + string(f.fault) + " cell-1",
			Args:    command.Args(command.TheCell),
		}
		o.cmd.Flags().StringVar(&o.sandbox, "name", "", "Name of the sandbox; the one of the context in use where none is given")
		o.progress.addFlag(o.cmd)
		o.cmd.RunE = command.RunE(o)
		cmd.AddCommand(o.cmd)
	}
	return cmd
}

// Complete takes the cell's name.
func (o *chaosOptions) Complete(args []string) error {
	o.cell = args[0]
	return o.check()
}

// Run breaks the cell, or mends it.
func (o *chaosOptions) Run(ctx context.Context) error {
	var done sandbox.ChaosReport
	err := o.show("sandbox chaos", func(tell func(sandbox.Event)) error {
		m, err := manager(o.env, tell)
		if err != nil {
			return err
		}
		if o.sandbox, err = o.target(m); err != nil {
			return err
		}
		done, err = m.Chaos(ctx, o.sandbox, o.cell, o.fault)
		return err
	})
	if err != nil {
		return err
	}
	if !done.Changed {
		fmt.Fprintf(o.env.Out, "cell %s of sandbox %s: nothing to do\n", o.cell, o.sandbox)
		return nil
	}
	fmt.Fprintf(o.env.Out, "cell %s of sandbox %s: %s\n", o.cell, o.sandbox, done.Detail)
	if o.undo != "" {
		undo(o.env, "sandbox chaos %s %s%s", o.undo, o.cell, named(o.sandbox))
	}
	return nil
}

// target is the sandbox that is meant: never one by default, while the user talks to something else.
func (o *chaosOptions) target(m *sandbox.Manager) (string, error) {
	current, err := o.context()
	if err != nil {
		return "", err
	}
	of := m.SandboxOf(current)
	switch {
	case o.sandbox != "" && (of == o.sandbox || !o.contextGiven()):
		return o.sandbox, nil
	case o.sandbox != "":
		return "", exit.Refusedf("context %s does not belong to sandbox %s", current, o.sandbox).
			WithHint("leave --context out, or --name")
	case of == "":
		return "", exit.Refusedf("context %q is not that of a sandbox of this machine; nothing else is ever broken", current).
			WithHint("%s sandbox ls ; %s sandbox chaos %s %s --name NAME", o.env.Program, o.env.Program, o.fault, o.cell)
	}
	return of, nil
}

func (o *chaosOptions) contextGiven() bool {
	return o.env.Flags.Context != nil && *o.env.Flags.Context != ""
}

func (o *chaosOptions) context() (string, error) {
	if o.contextGiven() {
		return *o.env.Flags.Context, nil
	}
	config, err := o.env.Flags.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return "", exit.Errorf(exit.Failure, "read kubeconfig: %w", err).WithHint("kubectl config get-contexts")
	}
	return config.CurrentContext, nil
}
