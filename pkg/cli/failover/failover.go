// Package failover is the command `failover`: says what the failover of a cell would cost, and carries it out.
package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/tui/steps"
)

const (
	// noticing is how long routers may take to notice that a cell is dead.
	noticing = 15 * time.Second
	// lookAgain is the time between two looks at them.
	lookAgain = 500 * time.Millisecond
)

type options struct {
	env     *command.Env
	spec    v1alpha1.FailoverSpec
	accept  string
	confirm string
	reason  command.Reason
	dryRun  bool
	tui     command.TUI
	output  printers.Output
	printer *printers.Printer
}

// NewCommand returns `failover`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "failover CELL",
		Short: "Have the cells next to a dead one serve its workloads",
		Long: `Have the cells next to a dead one serve its workloads, from the copies that the backup has of them.

What would be lost is said first, by name: objects without a copy, and those whose copy lacks a
write that a router has acknowledged. Nothing is done before that is accepted, with --accept-loss,
and confirmed, with the epoch of the ring in --confirm, so that a runbook that is out of date fails
safe. A cell that answers is refused without --force.

Then: no router uses the cell any more and each says so, the cell is frozen where it answers, it
leaves the ring, and its copies become objects again, the most recently changed first. A request for
one that is still waiting brings it back at once; a list is answered once all are there. Run the
command again to go on with a run that was cut off; a backup daemon goes on with it as well.`,
		Example: "  # What would be lost?\n  " + env.Program + " failover cell-3 --dry-run\n\n" +
			"  # By name\n  " + env.Program + " failover cell-3 --dry-run -o name\n\n" +
			"  # Do it\n  " + env.Program + " failover cell-3 --accept-loss=25 --confirm=cell-3@epoch42\n\n" +
			"  # Rehearse it on a healthy cell: every step that writes nothing on the ring\n  " + env.Program + " failover cell-3 --drill",
		Args: command.Args(command.TheCell),
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.accept, "accept-loss", "", "How many objects may be lost, or lack a write that was acknowledged; all where nobody can count them")
	flags.StringVar(&o.confirm, "confirm", "", "Agree, with the cell and the epoch of the ring: CELL@epochN")
	flags.StringSliceVar(&o.spec.IgnoreRouters, "ignore-router", nil, "A router that is known dead, whose acknowledgement is not awaited; may be repeated")
	flags.BoolVar(&o.spec.Force, "force", false, "Fail a cell over that answers")
	flags.BoolVar(&o.spec.Drill, "drill", false, "Rehearse every step that writes nothing on the ring, and time it")
	flags.BoolVar(&o.dryRun, "dry-run", false, "Say what would be done, and do nothing")
	o.reason.AddFlag(flags)
	o.tui.AddFlag(flags, "Show progress in place on a terminal")
	o.output.AddFlags(flags)
	return cmd
}

// Complete checks what can be checked without the network.
func (o *options) Complete(args []string) (err error) {
	o.spec.Cell = args[0]
	if err := o.tui.Check(); err != nil {
		return err
	}
	if err := o.reason.Check(); err != nil {
		return err
	}
	if err := o.acceptance(); err != nil {
		return err
	}
	if o.confirm != "" {
		cell, epoch, ok := strings.Cut(o.confirm, "@epoch")
		o.spec.ConfirmEpoch, err = strconv.ParseInt(epoch, 10, 64)
		switch {
		case !ok || err != nil || o.spec.ConfirmEpoch < 1:
			return exit.Flagf("confirm", printers.Clip(o.confirm), "be CELL@epochN, such as %s", failover.Confirmation(o.spec.Cell, 42)).
				WithHint("%s failover %s --dry-run", o.env.Program, o.spec.Cell)
		case cell != o.spec.Cell:
			return exit.Flagf("confirm", printers.Clip(o.confirm), "name cell %s, as the command does", o.spec.Cell).
				WithHint("%s failover %s --dry-run", o.env.Program, o.spec.Cell)
		}
	}
	o.printer, err = o.output.Printer()
	return err
}

// acceptance reads --accept-loss.
func (o *options) acceptance() (err error) {
	switch o.accept {
	case "":
	case "all":
		o.spec.AcceptLoss = failover.AcceptAll
	default:
		if o.spec.AcceptLoss, err = strconv.ParseInt(o.accept, 10, 64); err != nil || o.spec.AcceptLoss < 0 {
			return exit.Flagf("accept-loss", printers.Clip(o.accept), "be a number that is not negative, or all").
				WithHint("%s failover %s --dry-run", o.env.Program, o.spec.Cell)
		}
	}
	return nil
}

// Run says what it would cost, and does it where that is agreed to.
func (o *options) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	started, err := o.start(ctx, fed)
	if gone, ok := errors.AsType[*failover.NoRCPError](err); ok {
		return o.withoutRCP(ctx, fed, gone)
	}
	if err != nil {
		return err
	}
	switch {
	case started.Done != nil:
		return o.doneBefore(started.Done)
	case started.Resumed && o.dryRun:
		return o.print(started.Run, nil)
	case started.Resumed:
		fmt.Fprintf(o.env.ErrOut, "failover %s goes on\n", started.Run.Name)
	default:
		if err := o.plan(started); err != nil || o.dryRun {
			return err
		}
	}
	return o.carryOut(ctx, fed, started.Run)
}

// start begins the run. Routers have a while to notice that the cell is dead: right after that they contradict what
// everybody else sees.
func (o *options) start(ctx context.Context, fed *command.Federation) (*failover.Started, error) {
	patience, cancel := context.WithTimeout(ctx, noticing)
	defer cancel()
	if !o.dryRun {
		o.spec.Order = o.reason.Order(patience, fed)
	}
	for told := false; ; told = true {
		started, err := failover.Start(ctx, fed.Config, o.spec, o.dryRun)
		if err != nil || o.spec.Force || !started.Premature() {
			return started, err
		}
		if !told {
			fmt.Fprintf(o.env.ErrOut, "cell %s does not answer; waiting until the routers notice\n", o.spec.Cell)
		}
		select {
		case <-patience.Done():
			return started, ctx.Err()
		case <-time.After(lookAgain):
		}
	}
}

// plan shows what was found, and is the refusal where there is one.
func (o *options) plan(started *failover.Started) error {
	refused := started.Refused
	if o.dryRun || refused != nil {
		shown := &v1alpha1.Failover{Spec: o.spec}
		shown.Status.Report = whole(started.Finding)
		if err := o.print(shown, started); err != nil {
			return err
		}
	} else if o.printer.Text() {
		report(o.env.ErrOut, o.spec.Cell, &started.Finding.FailoverReport)
	}
	return refused
}

func (o *options) doneBefore(run *v1alpha1.Failover) error {
	if !o.printer.Text() {
		return o.print(run, nil)
	}
	by := ""
	if run.Name != "" {
		by = " by " + run.Name
	}
	fmt.Fprintf(o.env.Out, "cell %s was failed over already%s; nothing to do\n", o.spec.Cell, by)
	return nil
}

// carryOut drives the run, and says how it ended.
func (o *options) carryOut(ctx context.Context, fed *command.Federation, run *v1alpha1.Failover) error {
	var ended *v1alpha1.Failover
	err := o.show("failover "+run.Name+" of "+run.Spec.Cell, func(tell func(steps.Event)) error {
		n := &narrator{env: o.env, tell: tell, now: o.env.Clock.Now, seen: map[string]steps.State{}, said: map[string]string{}}
		driver := &failover.Driver{
			RCP: fed.Patient, Identity: o.env.Identity(), Tell: n.changed, Logger: slog.New(slog.DiscardHandler),
		}
		var err error
		ended, err = driver.Run(ctx, run.Name)
		return err
	})
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return exit.Errorf(exit.Detached, "left; failover %s goes on as soon as somebody drives it, which a backup daemon does", run.Name).
				WithHint("%s failover %s", o.env.Program, run.Spec.Cell)
		}
		return err
	}
	return o.conclude(ended, unfrozen(ctx, fed, run.Spec.Cell))
}

// unfrozen says that a cell cannot be frozen, and why; empty where it can, or that is not known.
func unfrozen(ctx context.Context, fed *command.Federation, name string) string {
	cell, err := fed.Cell.Cells().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	said := meta.FindStatusCondition(cell.Status.Conditions, v1alpha1.ConditionFrozen)
	if said == nil || said.Reason != v1alpha1.ReasonFreezeUnsupported {
		return ""
	}
	return "it cannot be frozen, and takes the writes of whoever reaches it: " + said.Message
}

// conclude says how a run ended.
func (o *options) conclude(run *v1alpha1.Failover, unfrozen string) error {
	s := &run.Status
	if !o.printer.Text() {
		if err := o.print(run, nil); err != nil {
			return err
		}
	} else {
		ended(o.env.Out, run, unfrozen)
		if s.Phase == v1alpha1.FailoverSucceeded && !run.Spec.Drill {
			fmt.Fprintf(o.env.ErrOut, "next: %s failback %s   # once it answers again\n", o.env.Program, run.Spec.Cell)
			fmt.Fprintf(o.env.ErrOut, "undo: %s failback %s ; %[1]s rebalance --window 50   # then, at any time\n", o.env.Program, run.Spec.Cell)
		}
	}
	switch {
	case s.Phase == v1alpha1.FailoverRefused:
		return exit.Refusedf("failover %s was refused", run.Name).WithHint("%s history", o.env.Program)
	case s.KeptObjects > 0:
		return exit.Errorf(exit.Partial, "%s copies could not be brought back, and were left as they are", printers.Count(s.KeptObjects)).
			WithHint("kubectl get failover.kubecell.io %s -o jsonpath='{.status.kept}'", run.Name)
	}
	return nil
}

func (o *options) print(run *v1alpha1.Failover, started *failover.Started) error {
	epoch := run.Status.FromEpoch
	if r := run.Status.Report; r != nil {
		epoch = r.Epoch
	}
	return o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("Failover", epoch, run, warnings(run)...),
		Names:    func() []string { return losses(run) },
		Text: func(w io.Writer, _ printers.Layout) error {
			if run.Status.Report != nil {
				report(w, run.Spec.Cell, run.Status.Report)
			}
			if started != nil && started.Refused == nil {
				fmt.Fprintln(w, "verdict    ready: the command would begin")
			}
			return nil
		},
	})
}

func warnings(run *v1alpha1.Failover) []string {
	if run.Status.Report == nil {
		return nil
	}
	return run.Status.Report.Warnings
}

// whole is the report of a finding with the names of all objects. A record has the first thousand of each list.
func whole(f *failover.Finding) *v1alpha1.FailoverReport {
	r := f.FailoverReport
	r.LostKeys, r.StaleKeys, r.CorruptKeys = f.Lost, f.Stale, f.Corrupt
	return &r
}

// losses names what would be lost, what would lack a write, and the copies that are of no use.
func losses(run *v1alpha1.Failover) []string {
	r := run.Status.Report
	if r == nil {
		return nil
	}
	return slices.Concat(r.LostKeys, r.StaleKeys, r.CorruptKeys)
}

// show runs do and shows what it tells: in place on a terminal, else one line per change of state.
func (o *options) show(title string, do func(tell func(steps.Event)) error) error {
	if !o.tui.Live(o.env, o.env.ErrOut) {
		return do(func(e steps.Event) { line(o.env.ErrOut, e) })
	}
	environ := []string{"TERM=" + o.env.Getenv("TERM"), "NO_COLOR=1"}
	return steps.Run(o.env.ErrOut, environ, title, o.env.Clock.Now(), do)
}
