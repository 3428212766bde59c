package rebalance

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// Record is the data of `rebalance status -o json`.
type Record struct {
	Name   string                  `json:"name"`
	Phase  v1alpha1.RebalancePhase `json:"phase"`
	Driver string                  `json:"driver,omitempty"`
	// Window is how many units may move at once, now and at most.
	Window      rebalance.WindowEvent `json:"window"`
	Rate        int32                 `json:"rate"`
	MaxFailures *int32                `json:"maxFailures,omitempty"`
	Paused      bool                  `json:"paused"`
	Step        int32                 `json:"step,omitempty"`
	Abort       bool                  `json:"abort"`
	// Limit says which units may begin; absent where all may.
	Limit     *v1alpha1.RebalanceLimit `json:"limit,omitempty"`
	FromEpoch int64                    `json:"fromEpoch"`
	ToEpoch   int64                    `json:"toEpoch,omitempty"`
	Progress  rebalance.Progress       `json:"progress"`
	Failures  []v1alpha1.UnitFailure   `json:"failures"`
	// Waiting is what the run waits for, or what slows it down, in words.
	Waiting   []string   `json:"waiting"`
	Started   *time.Time `json:"started,omitempty"`
	Completed *time.Time `json:"completed,omitempty"`
	// DryRun says that this is what would be, and was not written.
	DryRun bool `json:"dryRun,omitempty"`
}

func phaseOf(run *v1alpha1.Rebalance) v1alpha1.RebalancePhase {
	if run.Status.Phase == "" {
		return v1alpha1.RebalancePending
	}
	return run.Status.Phase
}

func newRecord(env *command.Env, run *v1alpha1.Rebalance) Record {
	s := &run.Status
	r := Record{
		Name: run.Name, Phase: phaseOf(run), Driver: s.Driver, Window: rebalance.WindowEvent{Now: s.Window, Wanted: run.Spec.Window},
		Rate: run.Spec.Rate, MaxFailures: run.Spec.MaxFailures, Paused: run.Spec.Paused, Step: run.Spec.Step, Abort: run.Spec.Abort, Limit: run.Spec.Limit,
		FromEpoch: s.FromEpoch, ToEpoch: s.ToEpoch, Progress: rebalance.ProgressOf(s),
		Failures: append([]v1alpha1.UnitFailure{}, s.Failures...), Waiting: []string{},
	}
	for _, c := range s.Conditions {
		resumed := c.Type == v1alpha1.ConditionHealthy && rebalance.Stopped(run) == ""
		if c.Status == metav1.ConditionFalse && c.Type != v1alpha1.ConditionDriven && !resumed && !r.Phase.Final() {
			r.Waiting = append(r.Waiting, env.Typed(c.Message))
		}
	}
	if s.StartTime != nil {
		r.Started = &s.StartTime.Time
	}
	if s.CompletionTime != nil {
		r.Completed = &s.CompletionTime.Time
	}
	return r
}

type statusOptions struct {
	env     *command.Env
	watch   bool
	output  printers.Output
	printer *printers.Printer
	name    string
}

func newStatus(env *command.Env) *cobra.Command {
	o := &statusOptions{env: env}
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show how far a run is",
		Long: "Show how far the run is that has not ended, or the last one that has; with a name, that one. With -w each\n" +
			"change is one line until it has ended, or one JSON object with -o json.",
		Example: "  " + env.Program + " rebalance status\n\n  # Until it has ended\n  " + env.Program + " rebalance status -w",
		Args:    command.OptionalArg,
		RunE:    command.RunE(o),
	}
	cmd.ValidArgsFunction = completeRuns(env)
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "Tell each change until the run has ended")
	o.output.AddFlags(cmd.Flags())
	return cmd
}

// Complete checks the output format.
func (o *statusOptions) Complete(args []string) (err error) {
	if len(args) > 0 {
		o.name = args[0]
	}
	if o.printer, err = o.output.Printer(); err != nil {
		return err
	}
	if f := o.output.Format; o.watch && f != "" && f != "wide" && f != "json" {
		return exit.Usagef("-w is shown as text or with -o json, not with -o %s", printers.Clip(f)).WithHint("%s rebalance status -w -o json", o.env.Program)
	}
	return nil
}

// Run looks.
func (o *statusOptions) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	run, err := o.find(ctx, fed)
	if err != nil {
		return fromServer(o.env, fed, err)
	}
	if o.watch {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		ended, err := rebalance.Watch(ctx, fed.Patient, run.Name, newWriter(o.env.Out, o.output.Format, stop))
		if err == nil && ended.Status.Phase != v1alpha1.RebalanceSucceeded {
			return exit.Errorf(exit.Failure, "rebalance %s is %s", ended.Name, ended.Status.Phase).WithHint("%s rebalance status %s", o.env.Program, ended.Name)
		}
		return err
	}
	holder, err := fed.Holder(ctx, v1alpha1.RebalanceLease, run.Status.Driver)
	if err != nil {
		return err
	}
	record := newRecord(o.env, run)
	var warnings []string
	if edited := editedSince(ctx, fed); edited != "" && !record.Phase.Final() {
		warnings = append(warnings, edited)
	}
	return o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("Rebalance", run.Status.FromEpoch, record, warnings...),
		Names:    func() []string { return []string{run.Name} },
		Text: func(w io.Writer, layout printers.Layout) error {
			return o.text(w, layout, record, holder, warnings)
		},
	})
}

// find is the run that was asked for.
func (o *statusOptions) find(ctx context.Context, fed *command.Federation) (*v1alpha1.Rebalance, error) {
	if o.name != "" {
		run, err := fed.Cell.Rebalances().Get(ctx, o.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, exit.Errorf(exit.Failure, "there is no rebalance %s", printers.Clip(o.name)).WithHint("%s history", o.env.Program)
		}
		return run, err
	}
	run, err := rebalance.Unfinished(ctx, fed.Cell)
	if err != nil || run != nil {
		return run, err
	}
	list, err := fed.Cell.Rebalances().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		if run == nil || run.CreationTimestamp.Before(&list.Items[i].CreationTimestamp) {
			run = &list.Items[i]
		}
	}
	if run == nil {
		return nil, exit.Errorf(exit.Failure, "there was no rebalance yet").WithHint("%s diff", o.env.Program)
	}
	return run, nil
}

func (o *statusOptions) text(w io.Writer, layout printers.Layout, r Record, holder string, warnings []string) error {
	var b strings.Builder
	driver := "   driver " + holder
	if holder == "" {
		driver = "   nobody drives"
	}
	if r.Phase.Final() {
		driver = ""
	}
	fmt.Fprintf(&b, "rebalance %s   %s%s\n", r.Name, r.Phase, driver)
	fmt.Fprintf(&b, "%s   window %d/%d\n", far(r.Progress, o.env.Clock.Now()), r.Window.Now, r.Window.Wanted)
	for _, text := range slices.Concat(r.Waiting, warnings) {
		fmt.Fprintf(&b, "! %s\n", text)
	}
	if len(r.Progress.Pairs) > 0 {
		b.WriteString("\n")
		table := layout.Table("FROM", "TO", "TOTAL", "MOVED", "INFLIGHT", "FAILED")
		for _, p := range r.Progress.Pairs {
			table.Rows = append(table.Rows, []string{
				p.From, p.To, printers.Count(p.Total), printers.Count(p.Moved), printers.Count(p.InFlight), printers.Count(p.Failed),
			})
		}
		if err := table.Write(&b); err != nil {
			return err
		}
	}
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "FAILED  %s  %s, attempt %d: %s\n", f.Key, f.Step, f.Attempts, f.Message)
	}
	switch {
	case r.Phase.Final():
	case r.Paused:
		fmt.Fprintf(&b, "next: %s rebalance resume\n", o.env.Program)
	case holder == "":
		fmt.Fprintf(&b, "next: %s rebalance   # drives it\n", o.env.Program)
	default:
		fmt.Fprintf(&b, "next: %s rebalance --attach\n", o.env.Program)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
