package get

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ring"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

type workloadsOptions struct {
	env           *command.Env
	selector      string
	allNamespaces bool
	watch         bool
	output        printers.Output
	printer       *printers.Printer
}

// Workload is one row of `get workloads`.
type Workload struct {
	// Key is what is hashed; all sharded objects with this key are in the one cell.
	Key       string `json:"key"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Cell      string `json:"cell"`
	// BackupCell is empty in a ring of one cell.
	BackupCell string `json:"backupCell"`
	// State is stable, moves (a rebalance is going to move it) or the state of its migration.
	State string `json:"state"`
}

func newWorkloadsCommand(env *command.Env) *cobra.Command {
	o := &workloadsOptions{env: env}
	cmd := &cobra.Command{
		Use:     "workloads",
		Aliases: []string{"workload"},
		Short:   "List the workloads with their cells",
		Long: "List the workloads with their cells, as they are found there. A workload is all sharded objects with\n" +
			"one key. When a cell cannot be read, what the others have is printed, and the exit code is 6.\n\n" +
			"With -w the command looks again every two seconds until Ctrl-C, and prints what changes. Each look counts\n" +
			"the workloads of all cells: choose a namespace, or labels, where there are very many.",
		Example: "  # Of the namespace of your context\n  " + env.Program + " get workloads\n\n" +
			"  # All that live in one cell\n  " + env.Program + " get workloads -A --no-headers | awk '$2 == \"cell-3\"'",
		Args: cobra.NoArgs,
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.selector, "selector", "l", "", "Label selector for the objects of the workloads")
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "List the workloads of all namespaces")
	flags.BoolVarP(&o.watch, "watch", "w", false, "Go on with what changes")
	o.output.AddFlags(flags)
	return cmd
}

// Complete checks the selector.
func (o *workloadsOptions) Complete([]string) (err error) {
	if o.printer, err = o.output.Printer(); err != nil {
		return err
	}
	if o.watch {
		if err := watchable(o.env, "get workloads", o.printer, o.output); err != nil {
			return err
		}
	}
	_, err = parseSelector(o.selector)
	return err
}

// Run lists the workloads.
func (o *workloadsOptions) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	options := federation.CensusOptions{Selector: o.selector}
	if !o.allNamespaces {
		if options.Namespace, err = o.env.Namespace(); err != nil {
			return err
		}
	}
	if o.watch {
		f := &follower{env: o.env, output: o.output, printer: o.printer, stateColumn: 3}
		return f.follow(ctx, func(ctx context.Context) (look, error) { return o.look(ctx, fed, options) })
	}
	epoch, workloads, missing, err := o.list(ctx, fed, options)
	if err != nil {
		return err
	}
	if err := o.print(epoch, workloads, missing, options.Namespace); err != nil {
		return err
	}
	if len(missing) > 0 {
		return exit.Errorf(exit.Partial, "the list is short by the workloads of %d cells", len(missing)).
			WithHint("%s get cells", o.env.Program)
	}
	return nil
}

// list asks the cells. missing are those that did not answer.
func (o *workloadsOptions) list(ctx context.Context, fed *command.Federation, options federation.CensusOptions) (epoch int64, found []Workload, missing []*federation.CellError, err error) {
	r, err := ring.Read(ctx, o.env, fed)
	if err != nil {
		return 0, nil, nil, err
	}
	census, err := federation.NewCensus(ctx, fed.Config, r)
	if err != nil {
		return 0, nil, nil, err
	}
	found, missing, err = collect(ctx, census, options)
	return r.Status.Epoch, found, missing, err
}

// look is list for -w.
func (o *workloadsOptions) look(ctx context.Context, fed *command.Federation, options federation.CensusOptions) (look, error) {
	_, found, missing, err := o.list(ctx, fed, options)
	if err != nil {
		return look{}, err
	}
	table := tableOf(found, printers.Layout{})
	out := look{header: table.Header, warnings: errorTexts(missing)}
	for _, cell := range missing {
		out.silent = append(out.silent, cell.Cell)
	}
	for i, w := range found {
		out.rows = append(out.rows, row{name: w.Key, cell: w.Cell, state: w, text: table.Rows[i], data: w})
	}
	return out, nil
}

func tableOf(workloads []Workload, layout printers.Layout) printers.Table {
	table := layout.Table("WORKLOAD", "CELL", "BACKUP", "STATE")
	for _, workload := range workloads {
		backup := workload.BackupCell
		if backup == "" {
			backup = "-"
		}
		table.Rows = append(table.Rows, []string{workload.Key, workload.Cell, backup, workload.State})
	}
	return table
}

func errorTexts(missing []*federation.CellError) []string {
	var out []string
	for _, cell := range missing {
		out = append(out, cell.Error())
	}
	return out
}

// collect sorts the workloads by key; the census has no order.
func collect(ctx context.Context, census *federation.Counter, options federation.CensusOptions) (found []Workload, missing []*federation.CellError, err error) {
	found = []Workload{}
	for unit, err := range census.Units(ctx, options) {
		var failed *federation.CellError
		switch {
		case errors.As(err, &failed):
			missing = append(missing, failed)
			continue
		case err != nil:
			return nil, nil, err
		}
		w := Workload{Key: unit.Key, Namespace: unit.Namespace, Name: unit.Name, Cell: unit.Cell, BackupCell: unit.Placement.OldBackup(), State: "stable"}
		if unit.Cell == unit.Placement.New() {
			w.BackupCell = unit.Placement.NewBackup()
		}
		switch {
		case unit.Status != "":
			w.State = string(unit.Status)
		case unit.Cell != unit.Placement.New():
			w.State = "moves"
		}
		found = append(found, w)
	}
	slices.SortFunc(found, func(a, b Workload) int { return strings.Compare(a.Key, b.Key) })
	slices.SortFunc(missing, func(a, b *federation.CellError) int { return strings.Compare(a.Cell, b.Cell) })
	return found, missing, nil
}

func (o *workloadsOptions) print(epoch int64, workloads []Workload, missing []*federation.CellError, namespace string) error {
	for _, warning := range errorTexts(missing) {
		o.env.Warn("%s", warning)
	}
	if len(workloads) == 0 && o.printer.Text() {
		where := "in namespace " + namespace
		if namespace == "" {
			where = "in any namespace"
		}
		fmt.Fprintf(o.env.ErrOut, "No workloads found %s.\n", where)
		return nil
	}
	return o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("WorkloadList", epoch, workloads, errorTexts(missing)...),
		Text: func(w io.Writer, layout printers.Layout) error {
			return tableOf(workloads, layout).Write(w)
		},
		Names: func() []string {
			names := make([]string, len(workloads))
			for i, workload := range workloads {
				names[i] = workload.Key
			}
			return names
		},
	})
}
