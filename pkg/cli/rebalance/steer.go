package rebalance

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// steering is a subcommand that changes the run that has not ended.
type steering struct {
	env     *command.Env
	verb    string
	output  printers.Output
	printer *printers.Printer
	yes     bool
	dryRun  bool
	windows int32
	// prepare looks at the flags; nil where there are none of its own.
	prepare func() error
	// already says that there is nothing to change, in words; empty where there is.
	already func(*v1alpha1.Rebalance) string
	change  func(ctx context.Context, fed *command.Federation, run string, how ...rebalance.Option) error
	// done is what was asked for, in words.
	done func(*v1alpha1.Rebalance) string
	// undo is the command that takes it back; empty where none does at once.
	undo string
}

func (s *steering) command(use, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long,
		Example: "  " + s.env.Program + " rebalance " + s.verb,
		Args:    cobra.NoArgs,
		RunE:    command.RunE(s),
	}
	cmd.Flags().BoolVar(&s.dryRun, "dry-run", false, "Have the server check the change, say what would be written, and write nothing")
	s.output.AddFlags(cmd.Flags())
	return cmd
}

func newPause(env *command.Env) *cobra.Command {
	s := &steering{env: env, verb: "pause", undo: "rebalance resume"}
	s.already = func(run *v1alpha1.Rebalance) string {
		if run.Spec.Paused {
			return "is paused already"
		}
		return ""
	}
	s.change = func(ctx context.Context, fed *command.Federation, run string, how ...rebalance.Option) error {
		return rebalance.Pause(ctx, fed.Cell, run, how...)
	}
	s.done = func(run *v1alpha1.Rebalance) string {
		return fmt.Sprintf("pauses: %d units in flight finish, and no others begin", rebalance.ProgressOf(&run.Status).InFlight)
	}
	return s.command("pause", "Let the units in flight finish, and begin no others",
		"Let the units in flight finish, and begin no others. What has moved stays where it is, and clients notice\n"+
			"nothing. The driver need not be this machine.")
}

func newResume(env *command.Env) *cobra.Command {
	s := &steering{env: env, verb: "resume", undo: "rebalance pause"}
	var limits limiting
	var options rebalance.ResumeOptions
	s.prepare = func() (err error) {
		options.Limit, err = limits.limit()
		if err == nil && options.Limit != nil && options.All {
			flag := "selector"
			if len(options.Limit.Namespaces) > 0 {
				flag = "namespace"
			}
			return exit.Exclusive("all", flag).WithHint("%s rebalance resume --help", env.Program)
		}
		return err
	}
	s.already = func(run *v1alpha1.Rebalance) string {
		if !run.Spec.Paused && run.Spec.Step == 0 && options.Limit == nil && (!options.All || run.Spec.Limit == nil) {
			return "is not paused"
		}
		return ""
	}
	s.change = func(ctx context.Context, fed *command.Federation, run string, how ...rebalance.Option) error {
		return rebalance.Resume(ctx, fed.Cell, run, options, how...)
	}
	s.done = func(run *v1alpha1.Rebalance) string {
		if run.Spec.Limit != nil {
			return fmt.Sprintf("goes on with the units of %s; what failed is tried again", rebalance.DescribeLimit(run.Spec.Limit))
		}
		return "goes on; what failed is tried again"
	}
	cmd := s.command("resume", "Go on with a paused run, and try again what failed",
		"Go on with a paused run, and try again what failed. Somebody has to drive it: the process that did, the\n"+
			"backup daemon, or a new rebalance command.\n\n"+
			"A run that was limited by -n or -l, and has moved all of these units, goes on with all others, or with those\n"+
			"that -n and -l choose now. One that was paused on the way keeps its limit, unless --all takes it off.")
	limits.addFlags(env, cmd.Flags())
	cmd.Flags().BoolVar(&options.All, "all", false, "Take the limit of the run off")
	return cmd
}

func newStep(env *command.Env) *cobra.Command {
	s := &steering{env: env, verb: "step", windows: 1, undo: "rebalance pause"}
	s.already = func(*v1alpha1.Rebalance) string { return "" }
	s.change = func(ctx context.Context, fed *command.Federation, run string, how ...rebalance.Option) error {
		return rebalance.Step(ctx, fed.Cell, run, s.windows, how...)
	}
	s.done = func(run *v1alpha1.Rebalance) string {
		return fmt.Sprintf("moves %d windows of %d units, then pauses", s.windows, run.Spec.Window)
	}
	cmd := s.command("step [N]", "Move one window or N, then pause",
		"Move one window of units, or N windows, then pause. A run that goes on is made to pause after them.")
	cmd.Args = command.OptionalArg
	return cmd
}

func newAbort(env *command.Env) *cobra.Command {
	s := &steering{env: env, verb: "abort"}
	s.already = func(run *v1alpha1.Rebalance) string {
		if run.Spec.Abort {
			return "is aborting already"
		}
		return ""
	}
	s.change = func(ctx context.Context, fed *command.Federation, run string, how ...rebalance.Option) error {
		return rebalance.Abort(ctx, fed.Cell, run, how...)
	}
	s.done = func(run *v1alpha1.Rebalance) string {
		return fmt.Sprintf("is aborted: %s units that have moved walk back, and the current ring stays", printers.Count(rebalance.ProgressOf(&run.Status).Moved))
	}
	cmd := s.command("abort", "Walk back, so that the current ring stays",
		"Make the run walk back: what has moved returns to its old cell by the same steps, and the current ring\n"+
			"stays as it is. The wanted ring stays, too. An abort cannot be taken back, but the run can be started\n"+
			"anew when it has ended. Refused (exit code 4) once the target has become the current ring.")
	cmd.Flags().BoolVar(&s.yes, "yes", false, "Do not ask for a confirmation")
	return cmd
}

// Complete reads the number of windows.
func (s *steering) Complete(args []string) (err error) {
	if len(args) > 0 {
		n, err := strconv.ParseInt(args[0], 10, 32)
		if err != nil || n < 1 {
			return exit.Usagef("%q is not a number of windows", printers.Clip(args[0])).WithHint("%s rebalance step 3", s.env.Program)
		}
		s.windows = int32(n)
	}
	if s.prepare != nil {
		if err := s.prepare(); err != nil {
			return err
		}
	}
	s.printer, err = s.output.Printer()
	return err
}

// Run changes the run.
func (s *steering) Run(ctx context.Context) error {
	fed, err := s.env.Connect()
	if err != nil {
		return err
	}
	run, err := rebalance.Unfinished(ctx, fed.Cell)
	if err != nil {
		return fromServer(s.env, fed, err)
	}
	if run == nil {
		return exit.Refusedf("no rebalance runs: there is nothing to %s", s.verb).WithHint("%s history", s.env.Program)
	}
	result, limit := s.already(run), run.Spec.Limit // which an abort takes away
	changes := result == "" && !s.dryRun
	var tried rebalance.Tried
	switch {
	case result == "" && s.dryRun:
		if err := s.change(ctx, fed, run.Name, rebalance.Try(&tried)); err != nil {
			return err
		}
		run = tried.Run
		result = fmt.Sprintf("%s (dry run)\nwould be written: %s", s.done(run), tried.Patch)
	case changes:
		if s.verb == "abort" && !s.yes {
			question := fmt.Sprintf("This makes rebalance %s walk back: %s. It cannot be taken back. Go on?", run.Name, moved(rebalance.ProgressOf(&run.Status)))
			if err := s.env.Confirm(ctx, question); err != nil {
				return err
			}
		}
		if err := s.change(ctx, fed, run.Name); err != nil {
			return err
		}
		if run, err = fed.Cell.Rebalances().Get(ctx, run.Name, metav1.GetOptions{}); err != nil {
			return fmt.Errorf("read rebalance: %w", err)
		}
		result = s.done(run)
	}
	record := newRecord(s.env, run)
	record.DryRun = s.dryRun
	err = s.printer.Print(s.env.Out, printers.View{
		Document: printers.NewDocument("Rebalance", run.Status.FromEpoch, record),
		Names:    func() []string { return []string{run.Name} },
		Text: func(w io.Writer, _ printers.Layout) error {
			_, err := fmt.Fprintf(w, "rebalance %s %s\n", run.Name, result)
			return err
		},
	})
	if err == nil && changes && s.printer.Text() {
		s.hints(ctx, fed, run.Spec.Window, limit)
	}
	return err
}

// hints say how to undo it, and whether anybody drives.
func (s *steering) hints(ctx context.Context, fed *command.Federation, window int32, limit *v1alpha1.RebalanceLimit) {
	undo := s.env.Program + " " + s.undo
	if s.undo == "" {
		undo = fmt.Sprintf("when it has ended, %s rebalance --window %d%s", s.env.Program, window, limitFlags(limit))
	}
	fmt.Fprintf(s.env.ErrOut, "undo: %s\n", undo)
	if s.verb == "pause" {
		return
	}
	holder, err := rebalance.Holder(ctx, fed.Kube, fed.Clock.Now)
	if err != nil || holder != "" {
		return
	}
	if runs, err := command.BackupDaemonRuns(ctx, fed); err == nil && !runs {
		s.env.Warn("nobody drives the run, and no backup daemon takes it over; next: %s rebalance", s.env.Program)
	}
}
