// Package sandbox is the command `sandbox`: a whole federation on this machine, for trying out,
// rehearsals and tests.
package sandbox

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/home"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

// NewCommand returns `sandbox` with its subcommands.
func NewCommand(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Run a federation of real control planes on this machine",
		Long: "Run a federation on this machine: a router control plane, cells, a router and a backup daemon as\n" +
			"ordinary processes, without root, containers or network. Each control plane takes about 2 seconds\n" +
			"to start and 400 MiB, each daemon 100 MiB.\n\n" +
			"State is kept below $" + home.Env + ", else $XDG_STATE_HOME/kubectl-cell, else\n" +
			"~/.local/state/kubectl-cell.",
		Example: "  # Three cells, and a deployment in one of them\n" +
			"  " + env.Program + " sandbox up --cells 3\n" +
			"  kubectl create deployment web --image nginx\n" +
			"  " + env.Program + " where deploy/web\n\n" +
			"  # Away with it\n  " + env.Program + " sandbox down",
	}
	cell := &cobra.Command{
		Use:     "cell",
		Short:   "Add a cell to a sandbox or remove one",
		Long:    "Add a cell to a sandbox or remove one.",
		Example: "  " + env.Program + " sandbox cell add cell-4",
	}
	cell.AddCommand(newCellAdd(env), newCellRemove(env))
	cmd.AddCommand(newUp(env), newDown(env), newLs(env), cell, newChaos(env))
	return cmd
}

// nameFlag is the flag --name of every subcommand that works on one sandbox.
func nameFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "name", sandbox.DefaultName, "Name of the sandbox and of its context, a DNS label")
}

// manager returns the sandboxes of the user; progress may be nil.
func manager(env *command.Env, progress func(sandbox.Event)) (*sandbox.Manager, error) {
	dir, err := home.State(env.Getenv)
	if err != nil {
		return nil, err
	}
	executable, err := home.Program(env.Getenv)
	if err != nil {
		return nil, err
	}
	return &sandbox.Manager{
		StateDir: dir, Executable: executable, Getenv: env.Getenv, Clock: env.Clock, Progress: progress,
	}, nil
}

// kubeconfigFiles are the files that contexts are written to.
func kubeconfigFiles(env *command.Env) ([]string, error) {
	explicit := ""
	if env.Flags.KubeConfig != nil {
		explicit = *env.Flags.KubeConfig
	}
	return sandbox.KubeconfigFiles(explicit, env.Getenv)
}

// undo tells how to take back what was done.
func undo(env *command.Env, format string, args ...any) {
	fmt.Fprintf(env.ErrOut, "undo: %s %s\n", env.Program, fmt.Sprintf(format, args...))
}

// named is the flag that a command needs to mean this sandbox, or "".
func named(name string) string {
	if name == sandbox.DefaultName {
		return ""
	}
	return " --name " + name
}
