// Package weight is the command `weight`: change a cell's share of the wanted ring.
package weight

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ringchange"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

type options struct {
	env     *command.Env
	dryRun  bool
	output  printers.Output
	printer *printers.Printer

	cell   string
	weight int32
}

// NewCommand returns `weight`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "weight CELL WEIGHT",
		Short: "Change a cell's share of the wanted ring",
		Long: "Set the weight of a cell in the wanted ring, 1 to 1000; 100 is an ordinary cell, and a cell of 200 gets\n" +
			"twice as many workloads. Nothing moves before a rebalance accepts the wanted ring.",
		Example: "  # Give cell-5 a fifth more\n  " + env.Program + " weight cell-5 120",
		Args:    command.Args(command.TheCell, "a WEIGHT"),
		RunE:    command.RunE(o),
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "Say what would be done, and do nothing")
	o.output.AddFlags(cmd.Flags())
	return cmd
}

// Complete reads the weight.
func (o *options) Complete(args []string) (err error) {
	if o.printer, err = o.output.Printer(); err != nil {
		return err
	}
	weight, err := strconv.ParseInt(args[1], 10, 32)
	if err != nil {
		return exit.Usagef("weight %q is not a whole number of 1 to 1000", printers.Clip(args[1])).
			WithHint("%s weight %s 120", o.env.Program, printers.Clip(args[0]))
	}
	o.cell, o.weight = args[0], int32(weight)
	return federation.CheckWeight(o.weight)
}

// Run changes the wanted ring.
func (o *options) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	change, err := federation.SetWeight(ctx, fed.Config, o.cell, o.weight, federation.Options{DryRun: o.dryRun})
	if err != nil {
		return err
	}
	result := fmt.Sprintf("cell %s has weight %d already; nothing to do", o.cell, o.weight)
	before := federation.Weight(&change.Before.Spec.RingLayout, o.cell)
	if change.Changed {
		result = fmt.Sprintf("cell %s weight changed from %d to %d", o.cell, before, o.weight)
	}
	report, err := ringchange.New(ctx, fed, change, ringchange.Report{
		Cell: o.cell, Result: result, DryRun: o.dryRun,
		Next: ringchange.Next(o.env.Program, change.After),
		Undo: fmt.Sprintf("%s weight %s %d", o.env.Program, o.cell, before),
	})
	if err != nil {
		return err
	}
	return report.Print(o.env, o.printer)
}
