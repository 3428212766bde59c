// Package remove is the command `remove`: forget a cell that has left the ring and holds nothing.
package remove

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

type options struct {
	env     *command.Env
	yes     bool
	force   bool
	dryRun  bool
	output  printers.Output
	printer *printers.Printer
	cell    string
}

// Data is the data of `remove -o json`.
type Data struct {
	federation.RemoveReport
	Cell   string `json:"cell"`
	DryRun bool   `json:"dryRun"`
}

// NewCommand returns `remove`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "remove CELL",
		Short: "Forget a cell that has left the ring and holds nothing any more",
		Long: "Delete a cell and its stored credentials. Refused (exit code 4) while the cell is in the wanted, current\n" +
			"or target ring, or still holds workloads, envelopes or tombstones. The control plane itself is left as\n" +
			"it is, but for the fence, which is taken off.\n\n" +
			"With --force nobody looks into the cell: for one that is lost for good, or whose objects are to be left\n" +
			"where they are. A cell of the ring is refused all the same.",
		Example: "  # After a drain and a rebalance\n  " + env.Program + " remove cell-3",
		Args:    command.Args(command.TheCell),
		RunE:    command.RunE(o),
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.yes, "yes", false, "Do not ask for the cell's name as a confirmation")
	flags.BoolVar(&o.force, "force", false, "Do not look into the cell; what it holds stays there, out of the federation's sight")
	flags.BoolVar(&o.dryRun, "dry-run", false, "Do all checks and say what would be done, and do nothing")
	o.output.AddFlags(flags)
	return cmd
}

// Complete checks the output format.
func (o *options) Complete(args []string) (err error) {
	o.cell = args[0]
	o.printer, err = o.output.Printer()
	return err
}

// Run checks first, asks then, and checks again while it removes.
func (o *options) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	options := federation.RemoveOptions{Force: o.force}
	options.DryRun = true
	report, err := federation.RemoveCell(ctx, fed.Config, o.cell, options)
	if err != nil {
		return err
	}
	if !o.dryRun && !o.yes {
		what := fmt.Sprintf("This deletes cell %s and its stored credentials.", o.cell)
		if err := o.env.ConfirmName(ctx, what, o.cell); err != nil {
			return err
		}
	}
	if !o.dryRun {
		options.DryRun = false
		if report, err = federation.RemoveCell(ctx, fed.Config, o.cell, options); err != nil {
			return err
		}
	}
	return o.print(report)
}

func (o *options) print(report federation.RemoveReport) error {
	data := Data{RemoveReport: report, Cell: o.cell, DryRun: o.dryRun}
	err := o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("Removal", 0, data),
		Text: func(w io.Writer, _ printers.Layout) error {
			suffix := ""
			if o.dryRun {
				suffix = " (dry run)"
			}
			_, err := fmt.Fprintf(w, "cell %s removed%s\n", o.cell, suffix)
			return err
		},
		Names: func() []string { return []string{o.cell} },
	})
	if err == nil && report.FenceLeft != "" {
		fmt.Fprintf(o.env.ErrOut, "warning: the cell keeps its fence, which refuses writes to objects that the federation has labelled: %s\n", report.FenceLeft)
	}
	if err == nil && o.printer.Text() && !o.dryRun {
		fmt.Fprintf(o.env.ErrOut, "undo: %s add %s --kubeconfig FILE\n", o.env.Program, o.cell)
	}
	return err
}
