package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/tui/steps"
)

// backOptions are those of `failback`.
type backOptions struct {
	options
	cell string
	dir  string
	yes  bool
}

// NewFailbackCommand returns `failback`.
func NewFailbackCommand(env *command.Env) *cobra.Command {
	o := &backOptions{options: options{env: env}}
	cmd := &cobra.Command{
		Use:   "failback CELL",
		Short: "Bring a cell that was failed over back into the wanted ring",
		Long: `Bring a cell that was failed over back into the wanted ring.

The cell has the objects that it had when it was failed over, and the federation has gone on since.
Each is compared with the federation's of that name. What says something that the federation does
not know is saved to files, both versions and a diff: objects that were changed after the failover,
or whose last writes were lost in it, and those that the cell has alone. Then all of them are
deleted in the cell, leaving what depends on them, and the cell is empty.

After that it takes writes again and is in the wanted ring. No workload moves to it before a
rebalance. Run the command again to go on with a run that was cut off.`,
		Example: "  # What differs?\n  " + env.Program + " failback cell-3 --dry-run\n\n" +
			"  # Bring it back\n  " + env.Program + " failback cell-3\n  " + env.Program + " rebalance --window 50",
		Args: command.Args(command.TheCell),
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.dir, "dir", "", "Folder that what differs is saved to; failback-CELL where none is given")
	flags.BoolVar(&o.yes, "yes", false, "Do not ask for the cell's name")
	flags.BoolVar(&o.dryRun, "dry-run", false, "Compare, and do nothing")
	o.reason.AddFlag(flags)
	o.tui.AddFlag(flags, "Show progress in place on a terminal")
	o.output.AddFlags(flags)
	return cmd
}

// Complete checks the flags.
func (o *backOptions) Complete(args []string) (err error) {
	o.cell = args[0]
	if err := o.tui.Check(); err != nil {
		return err
	}
	if err := o.reason.Check(); err != nil {
		return err
	}
	if o.dir == "" {
		o.dir = "failback-" + o.cell
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return fmt.Errorf("resolve --dir: %w", err)
	}
	o.printer, err = o.output.Printer()
	return err
}

// Run compares the cell with the federation, and brings it back.
func (o *backOptions) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	f := &failover.Failback{
		RCP: fed.Patient, Identity: o.env.Identity(), Cell: o.cell, Dir: o.dir, Host: o.env.Host(), DryRun: o.dryRun,
		Order: o.reason.Order(ctx, fed), Logger: slog.New(slog.DiscardHandler),
	}
	if !o.dryRun && !o.yes {
		pending, err := (&failover.Failback{RCP: fed.Config, Cell: o.cell}).Pending(ctx)
		if err != nil {
			return err
		}
		if !pending {
			return o.nothing()
		}
		if err := o.env.ConfirmName(ctx, "Everything in "+o.cell+" that the federation has, or saves to "+o.dir+", is deleted there, and the cell joins the ring again.", o.cell); err != nil {
			return err
		}
	}
	var run *v1alpha1.Failover
	err = o.show("failback of "+o.cell, func(tell func(steps.Event)) error {
		n := &narrator{env: o.env, tell: tell, now: o.env.Clock.Now, seen: map[string]steps.State{}, said: map[string]string{}}
		if !o.dryRun {
			f.Tell = n.changed
		}
		var err error
		run, err = f.Run(ctx)
		return err
	})
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return exit.Errorf(exit.Detached, "left; what is left to do is done by the same command").
				WithHint("%s failback %s --dir %s", o.env.Program, o.cell, o.dir)
		}
		return err
	}
	if run == nil {
		return o.nothing()
	}
	return o.conclude(run)
}

func (o *backOptions) nothing() error {
	_, err := fmt.Fprintf(o.env.Out, "cell %s is in the ring; nothing to do\n", o.cell)
	return err
}

func (o *backOptions) conclude(run *v1alpha1.Failover) error {
	err := o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("Failback", run.Spec.ConfirmEpoch, run),
		Names: func() []string {
			var out []string
			for _, k := range run.Status.Kept {
				out = append(out, k.Object)
			}
			return out
		},
		Text: func(w io.Writer, _ printers.Layout) error {
			o.text(w, run)
			return nil
		},
	})
	if err != nil || o.dryRun || !o.printer.Text() {
		return err
	}
	fmt.Fprintf(o.env.ErrOut, "next: %s diff ; %s rebalance --window 50\n", o.env.Program, o.env.Program)
	fmt.Fprintf(o.env.ErrOut, "undo: %s drain %s   # what was deleted in the cell stays deleted\n", o.env.Program, o.cell)
	return nil
}

func (o *backOptions) text(w io.Writer, run *v1alpha1.Failover) {
	s := &run.Status
	for _, step := range s.Steps {
		if step.Name == string(failover.StepCompare) && step.Message != "" {
			fmt.Fprintf(w, "%s: %s\n", o.cell, step.Message)
		}
	}
	for i, k := range s.Kept {
		if i == shown {
			fmt.Fprintf(w, "  … and %s more\n", printers.Count(s.KeptObjects-shown))
			break
		}
		fmt.Fprintf(w, "  %s: %s\n", strings.ToLower(k.Reason), k.Object)
	}
	switch {
	case o.dryRun:
		fmt.Fprintln(w, "nothing was changed")
	case s.KeptObjects > 0:
		fmt.Fprintf(w, "cell %s is back in the wanted ring; %s objects that differed are in %s\n", o.cell, printers.Count(s.KeptObjects), s.Quarantine)
	default:
		fmt.Fprintf(w, "cell %s is back in the wanted ring; nothing differed\n", o.cell)
	}
}
