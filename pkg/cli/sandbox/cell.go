package sandbox

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

// cellOptions are those of `cell add` and `cell remove`.
type cellOptions struct {
	progress
	sandbox string
	cell    string
	// change is the operation, report says what it did.
	change func(ctx context.Context, m *sandbox.Manager) (sandbox.CellReport, error)
	report func(done sandbox.CellReport)
}

func newCellAdd(env *command.Env) *cobra.Command {
	o := &cellOptions{progress: progress{env: env}}
	o.change = func(ctx context.Context, m *sandbox.Manager) (sandbox.CellReport, error) {
		return m.CellAdd(ctx, o.sandbox, o.cell)
	}
	o.report = o.added
	cmd := &cobra.Command{
		Use:   "add [NAME]",
		Short: "Start one more cell and add it to the wanted ring",
		Long: "Start one more control plane and add it to the wanted ring. No workload moves before a rebalance\n" +
			"accepts that ring. Without a name, the next free one of cell-1, cell-2, … is taken.",
		Example: "  " + env.Program + " sandbox cell add cell-4\n  " + env.Program + " diff",
		Args:    command.OptionalArg,
		RunE:    command.RunE(o),
	}
	nameFlag(cmd, &o.sandbox)
	o.addFlag(cmd)
	return cmd
}

func newCellRemove(env *command.Env) *cobra.Command {
	o := &cellOptions{progress: progress{env: env}}
	o.change = func(ctx context.Context, m *sandbox.Manager) (sandbox.CellReport, error) {
		return m.CellRemove(ctx, o.sandbox, o.cell)
	}
	o.report = o.removed
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a cell that holds no workloads",
		Long: "Take a cell out of the federation, end its control plane and delete its data. A cell that is in the\n" +
			"current or the target ring, or that holds workloads, is refused: drain it and rebalance first.",
		Example: "  " + env.Program + " sandbox cell remove cell-4",
		Args:    command.Args("the NAME of a cell"),
		RunE:    command.RunE(o),
	}
	nameFlag(cmd, &o.sandbox)
	o.addFlag(cmd)
	return cmd
}

// Complete takes the cell's name.
func (o *cellOptions) Complete(args []string) error {
	if len(args) > 0 {
		o.cell = args[0]
	}
	return o.check()
}

// Run adds or removes the cell.
func (o *cellOptions) Run(ctx context.Context) error {
	var done sandbox.CellReport
	err := o.show("sandbox "+o.sandbox, func(tell func(sandbox.Event)) error {
		m, err := manager(o.env, tell)
		if err != nil {
			return err
		}
		done, err = o.change(ctx, m)
		return err
	})
	if err == nil {
		o.report(done)
	}
	return err
}

func (o *cellOptions) added(done sandbox.CellReport) {
	if !done.Changed {
		fmt.Fprintf(o.env.Out, "cell %s of sandbox %s is in the wanted ring already; nothing to do\n", done.Cell, o.sandbox)
		return
	}
	fmt.Fprintf(o.env.Out, "cell %s is up and in the wanted ring\n", done.Cell)
	fmt.Fprintf(o.env.ErrOut, "next: %s diff\n", o.env.Program)
	undo(o.env, "sandbox cell remove %s%s", done.Cell, named(o.sandbox))
}

func (o *cellOptions) removed(done sandbox.CellReport) {
	if !done.Changed {
		fmt.Fprintf(o.env.Out, "sandbox %s has no cell %s; nothing to do\n", o.sandbox, done.Cell)
		return
	}
	fmt.Fprintf(o.env.Out, "cell %s is removed, its data is deleted\n", done.Cell)
	undo(o.env, "sandbox cell add %s%s   # an empty one", done.Cell, named(o.sandbox))
}
