package get

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/overview"
	"github.com/kubecell/kubectl-cell/pkg/cli/ring"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

type cellsOptions struct {
	env      *command.Env
	selector string
	watch    bool
	output   printers.Output
	printer  *printers.Printer
	names    []string
	matches  labels.Selector
}

func newCellsCommand(env *command.Env) *cobra.Command {
	o := &cellsOptions{env: env}
	cmd := &cobra.Command{
		Use:     "cells [CELL…]",
		Aliases: []string{"cell"},
		Short:   "List the cells",
		Long: "List the cells with their state, share of the workloads and answering time. The cells are asked at\n" +
			"once; one that does not answer is shown as Unreachable and holds up none of the others.\n\n" +
			"EXPECTED is the share that the weight entitles a cell to; 0→100 in WEIGHT is a change that is wanted\n" +
			"and not accepted by a rebalance yet.\n\n" +
			"With -w the command looks again every two seconds until Ctrl-C, and prints what changes: state, weight,\n" +
			"workloads, version and problem.",
		Example: "  # All cells\n  " + env.Program + " get cells\n\n" +
			"  # With versions, addresses and problems, of one zone\n  " + env.Program + " get cells -o wide -l topology.kubernetes.io/zone=a",
		RunE: command.RunE(o),
	}
	cmd.Flags().StringVarP(&o.selector, "selector", "l", "", "Label selector for cells")
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "Go on with what changes")
	o.output.AddFlags(cmd.Flags())
	return cmd
}

// Complete parses the selector.
func (o *cellsOptions) Complete(args []string) (err error) {
	o.names = args
	if o.printer, err = o.output.Printer(); err != nil {
		return err
	}
	if o.watch {
		if err := watchable(o.env, "get cells", o.printer, o.output); err != nil {
			return err
		}
	}
	o.matches, err = parseSelector(o.selector)
	return err
}

func parseSelector(text string) (labels.Selector, error) {
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, exit.Usagef("selector %q: %w", printers.Clip(text), err).WithHint("-l topology.kubernetes.io/zone=a")
	}
	return selector, nil
}

// Run lists the cells.
func (o *cellsOptions) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	if o.watch {
		f := &follower{env: o.env, output: o.output, printer: o.printer, stateColumn: 1}
		return f.follow(ctx, func(ctx context.Context) (look, error) { return o.look(ctx, fed) })
	}
	seen, cells, err := o.list(ctx, fed)
	if err != nil {
		return err
	}
	for _, warning := range seen.Warnings {
		o.env.Warn("%s", warning)
	}
	return o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("CellList", seen.Ring.Status.Epoch, cells, seen.Warnings...),
		Text: func(w io.Writer, layout printers.Layout) error {
			return overview.Table(cells, o.env.Clock.Now(), layout).Write(w)
		},
		Names: func() []string {
			names := make([]string, len(cells))
			for i, cell := range cells {
				names[i] = cell.Name
			}
			return names
		},
	})
}

// list asks the cells, and returns those that were chosen.
func (o *cellsOptions) list(ctx context.Context, fed *command.Federation) (*overview.Overview, []overview.Cell, error) {
	r, err := ring.Read(ctx, o.env, fed)
	if err != nil {
		return nil, nil, err
	}
	seen, err := overview.Look(ctx, fed, r)
	if err != nil {
		return nil, nil, err
	}
	cells, err := o.choose(seen.Cells)
	return seen, cells, err
}

// look is list for -w. How long a cell takes to answer, its age and its share change all the time.
func (o *cellsOptions) look(ctx context.Context, fed *command.Federation) (look, error) {
	seen, cells, err := o.list(ctx, fed)
	if err != nil {
		return look{}, err
	}
	table := overview.Table(cells, o.env.Clock.Now(), printers.Layout{Wide: o.output.Format == "wide"})
	out := look{header: table.Header, warnings: seen.Warnings}
	for i, c := range cells {
		workloads := int64(-1)
		if c.Workloads != nil {
			workloads = *c.Workloads
		}
		out.rows = append(out.rows, row{
			name: c.Name, text: table.Rows[i], data: c,
			state: fmt.Sprint(c.State, c.Weight, c.WantedWeight, workloads, c.Version, c.Problem),
		})
	}
	return out, nil
}

// choose narrows the cells down to those that were named or selected. An unknown name is an error.
func (o *cellsOptions) choose(all []overview.Cell) ([]overview.Cell, error) {
	known := make([]string, len(all))
	for i, cell := range all {
		known[i] = cell.Name
	}
	for _, name := range o.names {
		if !slices.Contains(known, name) {
			return nil, overview.Unknown(o.env, name, known)
		}
	}
	out := []overview.Cell{}
	for _, cell := range all {
		named := len(o.names) == 0 || slices.Contains(o.names, cell.Name)
		if named && o.matches.Matches(labels.Set(cell.Label)) {
			out = append(out, cell)
		}
	}
	return out, nil
}
