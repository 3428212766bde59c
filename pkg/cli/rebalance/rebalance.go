// Package rebalance is the command `rebalance`: move what the wanted ring moves, look at it, steer it.
//
// The command drives the run in its own process, and shows it: on a terminal as a screen, else as lines or as
// JSON, all from one stream of events. It can be ended at any time; the units in flight finish, and the same
// command goes on, or the backup daemon does. The work itself is that of pkg/rebalance.
package rebalance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ringchange"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// ordinaryWindow is the one that hints name.
const ordinaryWindow = 50

type options struct {
	env         *command.Env
	window      int32
	rate        int32
	maxFailures int32
	grace       time.Duration
	timeout     time.Duration
	detach      bool
	attach      bool
	yes         bool
	dryRun      bool
	tui         command.TUI
	reason      command.Reason
	limiting    limiting
	limit       *v1alpha1.RebalanceLimit
	output      printers.Output
	printer     *printers.Printer
	// chosen says whether a flag is on the command line.
	chosen func(flag string) bool
}

// NewCommand returns `rebalance` and its subcommands.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "rebalance",
		Short: "Move what the wanted ring moves, and nothing else",
		Long: "Accept the wanted ring and move every workload whose cell it changes, while clients go on writing. A\n" +
			"workload refuses writes for the moment in which it moves; clients try again by themselves.\n\n" +
			"This process drives the run and shows it. It can be ended at any time: with Ctrl-C the units in flight\n" +
			"finish, and the backup daemon goes on, or the same command does. While a run has not ended, the command\n" +
			"goes on with it, or looks on where somebody else drives; --window, --rate and --max-failures then change\n" +
			"the run. A run that was paused stays paused until it is resumed.\n\n" +
			"With -n or -l only the units that they choose move; then the run pauses itself. Both rings stay in use until\n" +
			"the other units have moved as well (rebalance resume) or the run has walked back (rebalance abort).\n\n" +
			"Without a terminal each change is one line, with -o json one JSON object a line.",
		Example: "  # What would move, in order?\n  " + env.Program + " rebalance --dry-run\n\n" +
			"  # One namespace first; then the others, or back\n  " + env.Program + " rebalance -n canary\n  " +
			env.Program + " rebalance resume\n\n" +
			"  # Move it, 50 units at a time\n  " + env.Program + " rebalance --window 50\n\n" +
			"  # Leave it to the backup daemon, and look at it later\n  " + env.Program + " rebalance --window 50 --yes --detach\n  " +
			env.Program + " rebalance --attach",
		Args: cobra.NoArgs,
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	flags.Int32Var(&o.window, "window", ordinaryWindow, "Units that may move at once, 1 to 10000")
	flags.Int32Var(&o.rate, "rate", 0, "Units that may begin to move in a second; 0 for no limit but the window")
	flags.Int32Var(&o.maxFailures, "max-failures", 10, "Units that may fail before the run pauses itself; 0: the first one pauses it")
	flags.DurationVar(&o.grace, "grace", 0, "How long the old copies are kept as tombstones, 0s to 720h; the ring's spec.retention by default")
	flags.DurationVar(&o.timeout, "timeout", 0, "Leave the run to others after so long, with exit code 5; 0 for never")
	flags.BoolVar(&o.detach, "detach", false, "Start the run and leave it to the backup daemon")
	flags.BoolVar(&o.attach, "attach", false, "Look at the run that has not ended, and do not drive it")
	flags.BoolVar(&o.yes, "yes", false, "Do not ask for a confirmation")
	flags.BoolVar(&o.dryRun, "dry-run", false, "Do all checks, list the units that would move in their order, and do nothing")
	o.reason.AddFlag(flags)
	o.limiting.addFlags(env, flags)
	o.tui.AddFlag(flags, "Show the run on a screen where there is a terminal")
	o.output.AddFlags(flags)
	o.chosen = flags.Changed
	cmd.AddCommand(newPause(env), newResume(env), newStep(env), newAbort(env), newStatus(env))
	return cmd
}

// Complete checks the flags.
func (o *options) Complete([]string) (err error) {
	if o.printer, err = o.output.Printer(); err != nil {
		return err
	}
	help := o.env.Program + " rebalance --help"
	if err := o.tui.Check(); err != nil {
		return err
	}
	if err := o.reason.Check(); err != nil {
		return err
	}
	if o.timeout < 0 {
		return exit.Flagf("timeout", o.timeout, "not be negative").WithHint("%s", help)
	}
	for _, pair := range [][2]string{{"attach", "detach"}, {"attach", "dry-run"}, {"detach", "dry-run"}} {
		if o.chosen(pair[0]) && o.chosen(pair[1]) {
			return exit.Exclusive(pair[0], pair[1]).WithHint("%s", help)
		}
	}
	if o.limit, err = o.limiting.limit(); err != nil {
		return err
	}
	if o.attach {
		for _, flag := range []string{"window", "rate", "max-failures", "grace", "namespace", "selector", "reason"} {
			if o.chosen(flag) {
				return exit.Exclusive("attach", flag).
					WithHint("%s rebalance --%s … goes on with the run and changes it", o.env.Program, flag)
			}
		}
	}
	if f := o.output.Format; !o.dryRun && !o.detach && f != "" && f != "wide" && f != "json" {
		return exit.Usagef("a run is shown as text or with -o json, not with -o %s", printers.Clip(f)).
			WithHint("%s rebalance status -o %s", o.env.Program, printers.Clip(f))
	}
	return rebalance.CheckSpec(o.spec())
}

func (o *options) spec() *v1alpha1.RebalanceSpec {
	spec := &v1alpha1.RebalanceSpec{Window: o.window, Rate: o.rate, MaxFailures: &o.maxFailures, Limit: o.limit}
	if o.chosen("grace") {
		spec.Grace = &metav1.Duration{Duration: o.grace}
	}
	return spec
}

// Run starts a run, or goes on with the one that has not ended.
func (o *options) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	if o.dryRun {
		return o.plan(ctx, fed)
	}
	run, err := rebalance.Unfinished(ctx, fed.Cell)
	if err != nil {
		return fromServer(o.env, fed, err)
	}
	if run == nil && o.attach {
		return exit.Errorf(exit.Failure, "no rebalance runs that one could attach to").WithHint("%s history", o.env.Program)
	}
	var other *rebalance.UnfinishedError
	if run == nil {
		run, err = o.start(ctx, fed)
		if errors.As(err, &other) { // somebody else was quicker
			run, err = other.Run, nil
		}
		if err != nil || run == nil {
			return err
		}
	} else if err := o.goOn(ctx, fed, run); err != nil {
		return err
	}
	if o.detach {
		return o.detached(ctx, fed, run)
	}
	return newSession(o, fed, run).show(ctx)
}

// start asks and creates the run; it is nil where there is nothing to do.
func (o *options) start(ctx context.Context, fed *command.Federation) (*v1alpha1.Rebalance, error) {
	options := rebalance.StartOptions{Spec: *o.spec(), Detached: o.detach, DryRun: true}
	checked, err := rebalance.Start(ctx, fed.Config, options)
	if err != nil {
		return nil, fromServer(o.env, fed, err)
	}
	for _, warning := range checked.Warnings {
		o.env.Warn("%s", warning)
	}
	if checked.Nothing {
		return nil, o.nothing(checked.Ring)
	}
	if o.detach {
		if err := o.needSuccessor(ctx, fed); err != nil {
			return nil, err
		}
	}
	if !o.yes {
		if err := o.confirm(ctx, checked.Ring); err != nil {
			return nil, err
		}
	}
	options.DryRun = false
	options.Spec.Order = o.reason.Order(ctx, fed, ringchange.Differences(checked.Ring)...)
	started, err := rebalance.Start(ctx, fed.Config, options)
	if err != nil {
		return nil, err
	}
	if started.Nothing {
		return nil, o.nothing(started.Ring)
	}
	return started.Run, nil
}

func (o *options) nothing(ring *v1alpha1.Ring) error {
	if o.output.Format == "json" {
		return nil // no event
	}
	_, err := fmt.Fprintf(o.env.Out, "epoch %d, wanted and current ring are the same; nothing to do\n", ring.Status.Epoch)
	return err
}

// confirm asks for the names of the cells that join, leave or change.
func (o *options) confirm(ctx context.Context, ring *v1alpha1.Ring) error {
	differs := ringchange.Differences(ring)
	names := changed(ring.Status.Current, &ring.Spec.RingLayout)
	what := "This moves workloads until the data is where the wanted ring says: "
	if len(names) == 0 {
		return o.env.Confirm(ctx, what+join(differs)+". Go on?")
	}
	return o.env.ConfirmName(ctx, what+join(differs)+".", join(names))
}

// needSuccessor refuses to leave a run to nobody.
func (o *options) needSuccessor(ctx context.Context, fed *command.Federation) error {
	runs, err := command.BackupDaemonRuns(ctx, fed)
	if err != nil || runs {
		return err
	}
	return exit.Refusedf("no backup daemon runs that would drive the rebalance").
		WithHint("%s backup start --rcp-kubeconfig FILE   # or leave --detach out, and drive it here", o.env.Program)
}

// goOn says that there is a run already, and changes it as the flags say.
func (o *options) goOn(ctx context.Context, fed *command.Federation, run *v1alpha1.Rebalance) error {
	if o.detach {
		if err := o.needSuccessor(ctx, fed); err != nil {
			return err
		}
	}
	if o.attach {
		return nil
	}
	fmt.Fprintf(o.env.ErrOut, "rebalance %s has not ended: it is %s, and goes on\n", run.Name, phaseOf(run))
	if edited := editedSince(ctx, fed); edited != "" {
		fmt.Fprintln(o.env.ErrOut, edited)
	}
	if o.chosen("grace") {
		o.env.Warn("--grace is that of the run already; the flag is ignored")
	}
	if o.reason.Given() {
		o.env.Warn("--reason is for a new run; that of %s stays as it is", run.Name)
	}
	var change rebalance.Adjustment
	if o.chosen("window") && run.Spec.Window != o.window {
		change.Window = &o.window
	}
	if o.chosen("rate") && run.Spec.Rate != o.rate {
		change.Rate = &o.rate
	}
	if o.chosen("max-failures") && (run.Spec.MaxFailures == nil || *run.Spec.MaxFailures != o.maxFailures) {
		change.MaxFailures = &o.maxFailures
	}
	switch {
	case o.limit == nil:
	case rebalance.LimitReached(&run.Status):
		// It rests only because there was nothing left to do.
		if err := rebalance.Resume(ctx, fed.Cell, run.Name, rebalance.ResumeOptions{Limit: o.limit}); err != nil {
			return err
		}
	default:
		change.Limit = o.limit
	}
	if change == (rebalance.Adjustment{}) {
		return nil
	}
	return rebalance.Adjust(ctx, fed.Cell, run.Name, change)
}

// detached says where the run is now.
func (o *options) detached(ctx context.Context, fed *command.Federation, run *v1alpha1.Rebalance) error {
	if now, err := fed.Cell.Rebalances().Get(ctx, run.Name, metav1.GetOptions{}); err == nil {
		run = now
	}
	err := o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("Rebalance", run.Status.FromEpoch, newRecord(o.env, run)),
		Names:    func() []string { return []string{run.Name} },
		Text: func(w io.Writer, _ printers.Layout) error {
			_, err := fmt.Fprintf(w, "rebalance %s is left to the backup daemon\n", run.Name)
			return err
		},
	})
	if err == nil && o.printer.Text() {
		fmt.Fprintf(o.env.ErrOut, "next: %s rebalance --attach      undo: %s rebalance abort   # until it has ended\n", o.env.Program, o.env.Program)
	}
	return err
}
