package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

type downOptions struct {
	progress
	cmd  *cobra.Command
	name string
	all  bool
}

func newDown(env *command.Env) *cobra.Command {
	o := &downOptions{progress: progress{env: env}}
	o.cmd = &cobra.Command{
		Use:   "down",
		Short: "End a sandbox and delete its data",
		Long: "End a sandbox: its processes, its data and its contexts. The context that was current before the\n" +
			"sandbox becomes current again, unless you have chosen another one. This cannot be undone.",
		Example: "  " + env.Program + " sandbox down\n\n  # All of them\n  " + env.Program + " sandbox down --all",
		Args:    cobra.NoArgs,
	}
	nameFlag(o.cmd, &o.name)
	o.cmd.Flags().BoolVar(&o.all, "all", false, "End all sandboxes")
	o.progress.addFlag(o.cmd)
	o.cmd.RunE = command.RunE(o)
	return o.cmd
}

// Complete checks that --name and --all are not both given.
func (o *downOptions) Complete([]string) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.all && o.cmd.Flags().Changed("name") {
		return exit.Exclusive("all", "name").WithHint("%s sandbox down --all", o.env.Program)
	}
	return nil
}

// Run ends the sandboxes. It goes on past one that cannot be ended.
func (o *downOptions) Run(ctx context.Context) error {
	var results []string
	err := o.show("sandbox down", func(tell func(sandbox.Event)) error {
		m, err := manager(o.env, tell)
		if err != nil {
			return err
		}
		names := []string{o.name}
		if o.all {
			if names, err = m.Names(); err != nil {
				return err
			}
			if len(names) == 0 {
				results = append(results, "there are no sandboxes; nothing to do")
			}
		}
		var failed []error
		for _, name := range names {
			existed, err := m.Down(ctx, name)
			switch {
			case err != nil:
				failed = append(failed, err)
			case existed:
				results = append(results, fmt.Sprintf("sandbox %s is down, its data is deleted", name))
			default:
				results = append(results, fmt.Sprintf("there is no sandbox %s; nothing to do", name))
			}
		}
		return errors.Join(failed...)
	})
	// Printed when the live view is closed, which would draw over them.
	for _, line := range results {
		fmt.Fprintln(o.env.Out, line)
	}
	return err
}
