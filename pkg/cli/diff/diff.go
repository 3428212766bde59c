// Package diff is the command `diff`: what a rebalance to the wanted ring would move, counted on the
// workloads that there are. It changes nothing.
//
// Exit codes are those of diff(1), not those of the other commands: 0 for no differences, 1 for
// differences, 2 and more for errors.
package diff

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ring"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/plan"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

type options struct {
	env *command.Env
	// namespace is the one that -n names; empty for all.
	namespace    string
	summary      bool
	perNamespace bool
	output       printers.Output
	printer      *printers.Printer
}

// NewCommand returns `diff`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "Preview what a rebalance to the wanted ring would move",
		Long: "Preview what a rebalance to the wanted ring would move: how many workloads, from which cell to which,\n" +
			"how many backups find a new cell, how even the load is before and after, and how long it takes if it is as\n" +
			"fast as the last rebalance. Nothing is changed.\n\n" +
			"With -n only the workloads of that namespace count.\n\n" +
			"The exit code is that of diff: 0 where wanted and current ring are the same, 1 where they differ,\n" +
			"2 and more for errors. -o name prints the workloads that would move, one a line.",
		Example: "  # What would move?\n  " + env.Program + " diff\n\n" +
			"  # What of one namespace?\n  " + env.Program + " diff -n payments\n\n" +
			"  # Which namespaces are concerned?\n  " + env.Program + " diff --per-namespace\n\n" +
			"  # In a script\n  " + env.Program + " diff --summary || echo differs",
		Args: cobra.NoArgs,
	}
	run := command.RunE(o)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return asDiff(run(cmd, args)) }
	cmd.Flags().BoolVar(&o.summary, "summary", false, "Print the total alone")
	cmd.Flags().BoolVar(&o.perNamespace, "per-namespace", false, "Count for each namespace")
	o.output.AddFlags(cmd.Flags())
	return cmd
}

// asDiff keeps exit code 1 for differences.
func asDiff(err error) error {
	if exit.CodeOf(err) != exit.Failure || err.Error() == "" {
		return err
	}
	return exit.Errorf(exit.Usage, "%w", err).WithHintOf(err)
}

// Complete checks the flags.
func (o *options) Complete([]string) (err error) {
	if o.printer, err = o.output.Printer(); err != nil {
		return err
	}
	o.namespace = o.env.ChosenNamespace()
	if o.summary && o.perNamespace {
		return exit.Exclusive("summary", "per-namespace").WithHint("%s diff --help", o.env.Program)
	}
	return nil
}

// Run counts and prints.
func (o *options) Run(ctx context.Context) error {
	server, err := o.env.Connect()
	if err != nil {
		return err
	}
	current, err := ring.Read(ctx, o.env, server)
	if err != nil {
		return err
	}
	r := newReport(current)
	r.Namespace = o.namespace
	if r.differs() && current.Status.Current != nil {
		if err := o.count(ctx, server, current, r); err != nil {
			return err
		}
	}
	for _, warning := range r.warnings {
		o.env.Warn("%s", warning)
	}
	err = o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("RingDiff", r.Epoch, r, r.warnings...),
		Names:    func() []string { return r.names },
		Text:     o.text(r),
	})
	if err == nil && o.printer.Text() && r.differs() && !o.summary && r.Phase == v1alpha1.RingStable {
		fmt.Fprintf(o.env.ErrOut, "next: %s rebalance --window 50%s\n", o.env.Program, o.env.Within())
	}
	switch {
	case err != nil:
		return err
	case r.incomplete:
		return exit.Errorf(exit.Partial, "not every cell could be counted").WithHint("%s status", o.env.Program)
	case r.differs():
		return exit.Silent(exit.Failure)
	}
	return nil
}

// count fills in what would move.
func (o *options) count(ctx context.Context, server *command.Federation, current *v1alpha1.Ring, r *report) error {
	options := plan.DiffOptions{PerNamespace: o.perNamespace}
	if o.output.Format == "name" {
		options.Each = func(w plan.Workload, p placement.Placement) {
			if p.Moves() {
				r.names = append(r.names, w.Namespace+"/"+w.Name)
			}
		}
	}
	counted, err := federation.Preview(ctx, server.Config, current, federation.CensusOptions{Namespace: o.namespace}, options)
	if err != nil {
		return fmt.Errorf("count workloads: %w", err)
	}
	slices.Sort(r.names)
	r.Preview = &counted.Preview
	for _, missing := range counted.Missing {
		r.warnings = append(r.warnings, "numbers are without "+missing.Error())
		r.incomplete = true
	}
	if o.namespace != "" || r.incomplete {
		return nil // a rebalance moves more than was counted
	}
	runs, err := server.Cell.Rebalances().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list rebalances: %w", err)
	}
	r.Estimate = estimate(runs.Items, counted.Preview.Moves)
	return nil
}
