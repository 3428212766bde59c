// Package drain is the commands `drain` and `undrain`: take a cell out of the wanted ring, and back.
package drain

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ringchange"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// options are those of both commands, which differ in one call.
type options struct {
	env     *command.Env
	dryRun  bool
	output  printers.Output
	printer *printers.Printer
	cell    string

	change func(ctx context.Context, rcp *rest.Config, name string, options federation.Options) (federation.RingChange, error)
	// done and already are the results in words, undo is the command that takes it back.
	done, already, undo string
}

// NewCommand returns `drain`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{
		env: env, change: federation.Drain,
		done: " drained from the wanted ring", already: " is not in the wanted ring; nothing to do", undo: "undrain",
	}
	cmd := &cobra.Command{
		Use:   "drain CELL",
		Short: "Take a cell out of the wanted ring",
		Long: "Take a cell out of the wanted ring. Its workloads stay where they are until a rebalance accepts the\n" +
			"wanted ring and moves them away. The last cell of the ring is refused.",
		Example: "  # What would move?\n  " + env.Program + " drain cell-3 --dry-run\n\n" +
			"  # Do it\n  " + env.Program + " drain cell-3",
	}
	return o.finish(cmd)
}

// NewUndrainCommand returns `undrain`.
func NewUndrainCommand(env *command.Env) *cobra.Command {
	o := &options{
		env: env, change: federation.Undrain,
		done: " taken back into the wanted ring", already: " is in the wanted ring already; nothing to do", undo: "drain",
	}
	cmd := &cobra.Command{
		Use:   "undrain CELL",
		Short: "Take a drained cell back into the wanted ring",
		Long: "Take a drained cell back into the wanted ring, with the weight that it has in the current ring, or\n" +
			"100 where it has left that.",
		Example: "  # Undo a drain\n  " + env.Program + " undrain cell-3",
	}
	return o.finish(cmd)
}

func (o *options) finish(cmd *cobra.Command) *cobra.Command {
	cmd.Args = command.Args(command.TheCell)
	cmd.RunE = command.RunE(o)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "Say what would be done, and do nothing")
	o.output.AddFlags(cmd.Flags())
	return cmd
}

// Complete checks the output format.
func (o *options) Complete(args []string) (err error) {
	o.cell = args[0]
	o.printer, err = o.output.Printer()
	return err
}

// Run changes the wanted ring.
func (o *options) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	change, err := o.change(ctx, fed.Config, o.cell, federation.Options{DryRun: o.dryRun})
	if err != nil {
		return err
	}
	result := "cell " + o.cell + o.already
	if change.Changed {
		result = "cell " + o.cell + o.done
	}
	report, err := ringchange.New(ctx, fed, change, ringchange.Report{
		Cell: o.cell, Result: result, DryRun: o.dryRun,
		Next: ringchange.Next(o.env.Program, change.After), Undo: o.undoCommand(change),
	})
	if err != nil {
		return err
	}
	return report.Print(o.env, o.printer)
}

// undoCommand takes the change back. Undrain gives a cell the weight of the current ring, which a
// wanted weight may differ from.
func (o *options) undoCommand(change federation.RingChange) string {
	undo := o.env.Program + " " + o.undo + " " + o.cell
	wanted := federation.Weight(&change.Before.Spec.RingLayout, o.cell)
	if o.undo == "undrain" && wanted != 0 && wanted != federation.ReturnWeight(change.After, o.cell) {
		undo += fmt.Sprintf(" ; %s weight %s %d", o.env.Program, o.cell, wanted)
	}
	return undo
}
