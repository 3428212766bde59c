// Package initcmd is the command `init`: make a control plane the router control plane of a
// federation. (Go has a use of its own for the name init.)
package initcmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ringchange"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

type options struct {
	env      *command.Env
	founders []string
	points   int32
	dryRun   bool
	output   printers.Output
	printer  *printers.Printer

	pointsChosen func() bool
	plan         federation.InitOptions
}

// NewCommand returns `init`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a control plane the router control plane of a federation",
		Long: "Install what a router control plane needs: the CRDs, the namespace " + v1alpha1.Namespace + ", roles, and the Ring.\n" +
			"Run again, it repairs and upgrades what it installed.\n\n" +
			"Founders are the first cells. They make up the ring at once, since nothing is placed yet that could\n" +
			"move. Later cells come by `add`. A founder that was added before may be given by its name alone.",
		Example: "  # See what would be installed\n  " + env.Program + " init --dry-run\n\n" +
			"  # A federation of two cells, the second twice as large\n  " + env.Program +
			" init --founder cell-1=c1.yaml --founder cell-2=c2.yaml,weight=200",
		Args: cobra.NoArgs,
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.founders, "founder", nil, "First cell, as NAME=KUBECONFIG[,weight=N]; may be repeated")
	flags.Int32Var(&o.points, "points-per-weight", placement.DefaultPointsPerWeight, "Points of the ring for each unit of weight, 1 to 1000; cannot be changed later without moving workloads")
	flags.BoolVar(&o.dryRun, "dry-run", false, "Do all checks and say what would be done, and do nothing")
	o.output.AddFlags(flags)
	o.pointsChosen = func() bool { return flags.Changed("points-per-weight") }
	return cmd
}

// Complete reads the founders' kubeconfigs.
func (o *options) Complete([]string) (err error) {
	if o.printer, err = o.output.Printer(); err != nil {
		return err
	}
	if o.pointsChosen() {
		if o.points < 1 || o.points > placement.MaxPointsPerWeight {
			return exit.Flagf("points-per-weight", o.points, "be 1 to %d", placement.MaxPointsPerWeight).
				WithHint("%s init --points-per-weight %d", o.env.Program, placement.DefaultPointsPerWeight)
		}
		o.plan.PointsPerWeight = o.points
	}
	o.plan.DryRun = o.dryRun
	for _, text := range o.founders {
		founder, err := parseFounder(text)
		if err != nil {
			return err
		}
		o.plan.Founders = append(o.plan.Founders, founder)
	}
	return nil
}

// Run initialises. What was installed before an error is printed with it: a second run goes on there.
func (o *options) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	result, err := federation.Init(ctx, fed.Config, o.plan)
	if err != nil {
		return err
	}
	return o.print(result)
}

// Data is the data of `init -o json`.
type Data struct {
	Installed []federation.Installed `json:"installed"`
	Founders  []FounderData          `json:"founders"`
	// Founded is true when this call made the first layout of the ring.
	Founded bool `json:"founded"`
	DryRun  bool `json:"dryRun"`
}

// FounderData is one founder.
type FounderData struct {
	Cell    string             `json:"cell"`
	Outcome federation.Outcome `json:"outcome"`
	Checks  []federation.Check `json:"checks"`
}

func (o *options) print(result federation.InitResult) error {
	data := Data{Installed: result.Installed, Founders: []FounderData{}, Founded: result.Founded, DryRun: o.dryRun}
	for _, founder := range result.Founders {
		data.Founders = append(data.Founders, FounderData{Cell: founder.Name, Outcome: outcome(founder), Checks: founder.Checks})
	}
	epoch := int64(0)
	if result.Ring != nil {
		epoch = result.Ring.Status.Epoch
	}
	err := o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("Initialisation", epoch, data),
		Text: func(w io.Writer, _ printers.Layout) error {
			_, err := io.WriteString(w, o.text(data, epoch))
			return err
		},
		Names: func() []string {
			names := make([]string, len(data.Installed))
			for i, installed := range data.Installed {
				names[i] = installed.Object
			}
			return names
		},
	})
	if err != nil || !o.printer.Text() {
		return err
	}
	switch {
	case result.Founded && o.dryRun:
	case result.Founded:
		fmt.Fprintln(o.env.ErrOut, o.env.Typed("undo: kubectl delete ring.kubecell.io "+v1alpha1.RingName+
			" ; kubectl cell init ; kubectl cell remove CELL   # each founder, as long as it holds no workloads"))
	case epoch == 0:
		fmt.Fprintf(o.env.ErrOut, "next: %s init --founder cell-1=FILE   # the first cells\n", o.env.Program)
	default:
		fmt.Fprintf(o.env.ErrOut, "the federation was founded before; next: %s status   # a further cell: %[1]s add CELL --kubeconfig FILE\n", o.env.Program)
	}
	return nil
}

func outcome(founder federation.AddReport) federation.Outcome {
	switch {
	case founder.Created:
		return federation.Created
	case founder.Updated:
		return federation.Configured
	}
	return federation.Unchanged
}

func (o *options) text(data Data, epoch int64) string {
	var b strings.Builder
	suffix := ""
	if o.dryRun {
		suffix = " (dry run)"
	}
	for _, installed := range data.Installed {
		fmt.Fprintf(&b, "%s %s%s\n", installed.Object, installed.Outcome, suffix)
	}
	for _, founder := range data.Founders {
		fmt.Fprintf(&b, "cell/%s %s%s\n  %s", founder.Cell, founder.Outcome, suffix, ringchange.Checks(o.env, founder.Checks))
	}
	switch {
	case data.Founded && o.dryRun:
		fmt.Fprintf(&b, "ring/%s would be founded with %d cells%s\n", v1alpha1.RingName, len(data.Founders), suffix)
	case data.Founded:
		fmt.Fprintf(&b, "ring/%s founded with %d cells, epoch %d\n", v1alpha1.RingName, len(data.Founders), epoch)
	case epoch > 0:
		fmt.Fprintf(&b, "ring/%s unchanged, epoch %d\n", v1alpha1.RingName, epoch)
	default:
		fmt.Fprintf(&b, "ring/%s has no cells yet%s\n", v1alpha1.RingName, suffix)
	}
	return b.String()
}
