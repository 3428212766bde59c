// Package status is the command `status`: the state of the whole federation, or of one cell, with what
// is wrong and the command that helps.
package status

import (
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/overview"
	"github.com/kubecell/kubectl-cell/pkg/cli/ring"
	"github.com/kubecell/kubectl-cell/pkg/cli/ringchange"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

type options struct {
	env        *command.Env
	exitStatus bool
	output     printers.Output
	printer    *printers.Printer
	cell       string
}

// Data is the data of `status -o json`.
type Data struct {
	Phase v1alpha1.RingPhase `json:"phase"`
	Epoch int64              `json:"epoch"`
	// Differs is how the wanted ring differs from the current one; empty where it does not.
	Differs   []string        `json:"differs"`
	Workloads int64           `json:"workloads"`
	Cells     []overview.Cell `json:"cells"`
	Routers   []Router        `json:"routers"`
	// RoutersHidden says why the routers cannot be shown; absent where they are.
	RoutersHidden string `json:"routersHidden,omitempty"`
	// Rebalance is the run that has not ended; absent where there is none.
	Rebalance *Run `json:"rebalance,omitempty"`
	// Failover is the one that has not ended; absent where there is none.
	Failover *FailoverRun `json:"failover,omitempty"`
	Findings []Finding    `json:"findings"`
}

// Runs are those that have not ended, as people read them.
func (d *Data) Runs() []string {
	var lines []string
	if d.Rebalance != nil {
		lines = append(lines, d.Rebalance.Line())
	}
	if d.Failover != nil {
		lines = append(lines, d.Failover.Line())
	}
	return lines
}

// NewCommand returns `status`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "status [CELL]",
		Short: "Show the state of the federation, or of one cell",
		Long: "Show the ring with its epoch and phase, the cells, the routers, the rebalance and the failover that have\n" +
			"not ended, and what needs attention with the command that helps. With a cell's name,\n" +
			"show that cell and its conditions.\n\n" +
			"With --exit-status the exit code is 3 when anything needs attention. Whether the cells hold\n" +
			"what the ring says is not looked at: that is \"verify\".",
		Example: "  # Everything\n  " + env.Program + " status\n\n" +
			"  # One cell\n  " + env.Program + " status cell-3\n\n" +
			"  # In a script\n  " + env.Program + " status --exit-status -o json",
		Args: command.OptionalArg,
		RunE: command.RunE(o),
	}
	cmd.Flags().BoolVar(&o.exitStatus, "exit-status", false, "Exit with code 3 when anything needs attention")
	o.output.AddFlags(cmd.Flags())
	return cmd
}

// Complete checks the output format.
func (o *options) Complete(args []string) (err error) {
	if len(args) > 0 {
		o.cell = args[0]
	}
	o.printer, err = o.output.Printer()
	return err
}

// Look asks the router control plane and all cells. Its error means that the former did not answer.
func Look(ctx context.Context, env *command.Env, fed *command.Federation, r *v1alpha1.Ring) (Data, *overview.Overview, error) {
	seen, err := overview.Look(ctx, fed, r)
	if err != nil {
		return Data{}, nil, err
	}
	data := Data{
		Phase: r.Status.Phase, Epoch: r.Status.Epoch, Differs: ringchange.Differences(r),
		Workloads: seen.Workloads, Cells: seen.Cells, Findings: find(env.Program, seen),
	}
	if data.Routers, data.RoutersHidden, err = listRouters(ctx, fed); err != nil {
		return data, seen, err
	}
	data.Findings = append(data.Findings, routerFindings(env.Program, data.Routers, r)...)
	if err := data.addRun(ctx, env, fed, r); err != nil {
		return data, seen, err
	}
	if err := data.addFailover(ctx, env, fed); err != nil {
		return data, seen, err
	}
	if r.Status.Epoch > 0 { // before, there is nothing to back up
		found, err := backupFindings(ctx, fed, env.Program)
		if err != nil {
			return data, seen, err
		}
		data.Findings = append(data.Findings, found...)
	}
	return data, seen, nil
}

// Run looks and prints.
func (o *options) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	r, err := ring.Read(ctx, o.env, fed)
	if err != nil {
		return err
	}
	data, seen, err := Look(ctx, o.env, fed, r)
	if err != nil {
		return err
	}
	if o.cell != "" {
		if err := data.narrow(o.env, o.cell); err != nil {
			return err
		}
	}
	if err := o.print(data, seen); err != nil {
		return err
	}
	if o.exitStatus && len(data.Findings) > 0 {
		return exit.Silent(exit.Findings)
	}
	return nil
}

// narrow leaves one cell and its findings.
func (d *Data) narrow(env *command.Env, name string) error {
	var known []string
	for _, cell := range d.Cells {
		known = append(known, cell.Name)
	}
	if !slices.Contains(known, name) {
		return overview.Unknown(env, name, known)
	}
	d.Cells = slices.DeleteFunc(d.Cells, func(c overview.Cell) bool { return c.Name != name })
	d.Findings = slices.DeleteFunc(d.Findings, func(f Finding) bool { return f.Cell != name })
	return nil
}

func (o *options) print(data Data, seen *overview.Overview) error {
	return o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("Status", data.Epoch, data, seen.Warnings...),
		Text: func(w io.Writer, layout printers.Layout) error {
			if o.cell != "" {
				return o.cellText(w, data)
			}
			return o.text(w, data, layout)
		},
		Names: func() []string {
			names := make([]string, len(data.Cells))
			for i, cell := range data.Cells {
				names[i] = cell.Name
			}
			return names
		},
	})
}
