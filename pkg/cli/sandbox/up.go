package sandbox

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

type upOptions struct {
	sandbox.UpOptions
	progress
	cmd *cobra.Command
}

func newUp(env *command.Env) *cobra.Command {
	o := &upOptions{progress: progress{env: env}}
	o.cmd = &cobra.Command{
		Use:   "up",
		Short: "Start a sandbox, or what does not run of it",
		Long: "Start a sandbox: the router control plane, the cells, the daemons; and contexts in your kubeconfig, of\n" +
			"which the one through the router becomes the current one. Returns when kubectl works there.\n\n" +
			"Of a sandbox that exists, what does not run is started again with its data; a command that was cut\n" +
			"off is completed. When the first start fails or is interrupted, nothing is left behind.",
		Example: "  " + env.Program + " sandbox up\n\n" +
			"  # A small one beside it\n" +
			"  " + env.Program + " sandbox up --name demo --cells 1",
		Args: cobra.NoArgs,
	}
	nameFlag(o.cmd, &o.Name)
	o.cmd.Flags().IntVar(&o.Cells, "cells", sandbox.DefaultCells, "Number of cells of a new sandbox: cell-1, cell-2, …")
	o.cmd.Flags().IntVar(&o.Port, "port", 0, "Port of the router on 127.0.0.1; 0: the one of the last time, or a free one")
	o.progress.addFlag(o.cmd)
	o.cmd.RunE = command.RunE(o)
	return o.cmd
}

// Complete finds the user's kubeconfig.
func (o *upOptions) Complete([]string) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	if o.cmd.Flags().Changed("cells") {
		if o.Cells < 1 {
			return exit.Flagf("cells", o.Cells, "be 1 or more").
				WithHint("%s sandbox up --cells %d", o.env.Program, sandbox.DefaultCells)
		}
	} else {
		o.Cells = 0 // as many as there are
	}
	o.KubeconfigFiles, err = kubeconfigFiles(o.env)
	return err
}

// Run brings the sandbox up.
func (o *upOptions) Run(ctx context.Context) error {
	begin := o.env.Clock.Now()
	var status sandbox.Status
	changed := false
	err := o.show("sandbox "+o.Name, func(tell func(sandbox.Event)) error {
		m, err := manager(o.env, func(e sandbox.Event) {
			changed = changed || e.State == sandbox.Done && e.Step != "kubeconfig"
			tell(e)
		})
		if err != nil {
			return err
		}
		status, err = m.Up(ctx, o.UpOptions)
		return err
	})
	if err != nil {
		return err
	}
	if !changed {
		fmt.Fprintf(o.env.Out, "sandbox %s is already running: %s, router %s\n", status.Name, cellCount(status), status.Router.Address)
		return nil
	}
	fmt.Fprintf(o.env.Out, "sandbox %s is up: %s, router %s, %s\n", status.Name, cellCount(status),
		status.Router.Address, seconds(o.env.Clock.Since(begin)))
	in := ""
	if o.cmd.Flags().Changed("kubeconfig") {
		in = " --kubeconfig " + command.Quoted(*o.env.Flags.KubeConfig)
	}
	fmt.Fprintf(o.env.ErrOut, "next: kubectl%s get deployments   # context %s is current\n", in, status.Context)
	undo(o.env, "sandbox down%s", named(o.Name))
	return nil
}

func cellCount(s sandbox.Status) string {
	if len(s.Cells) == 1 {
		return "1 cell"
	}
	return fmt.Sprintf("%d cells", len(s.Cells))
}
