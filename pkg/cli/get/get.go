// Package get is the commands `get cells` and `get workloads`: lists of what there is, live.
package get

import (
	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
)

// NewCommand returns `get` with its subcommands.
func NewCommand(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get",
		Short: "List cells or workloads",
		Long:  "List cells or workloads, as they are now in the cells themselves.",
		Example: "  # All cells, with their load and whether they answer\n  " + env.Program + " get cells\n\n" +
			"  # The workloads of one namespace, with the cell of each\n  " + env.Program + " get workloads -n payments",
	}
	cmd.AddCommand(newCellsCommand(env), newWorkloadsCommand(env))
	return cmd
}
