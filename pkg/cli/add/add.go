// Package add is the command `add`: check a control plane, store it as a cell and want it in the ring.
package add

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/kubeconfig"
	"github.com/kubecell/kubectl-cell/pkg/cli/ringchange"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

type options struct {
	env         *command.Env
	kubeconfig  string
	cellContext string
	weight      int32
	labels      []string
	endpoints   []string
	dryRun      bool
	output      printers.Output
	printer     *printers.Printer

	weightChosen func() bool
	cell         federation.NewCell
}

// NewCommand returns `add`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "add NAME --kubeconfig FILE",
		Short: "Add a control plane to the federation as a cell",
		Long: "Check a control plane, store it as a cell with its credentials, copy to it what every cell needs\n" +
			"(namespaces, CRDs, RBAC …), install the fence, and make it a member of the wanted ring. No workload\n" +
			"moves before a rebalance accepts the wanted ring.\n\n" +
			"In this command --kubeconfig is the kubeconfig of the new cell. The router control plane is found as\n" +
			"kubectl finds it without that flag: by the environment variable KUBECONFIG, or ~/.kube/config, and\n" +
			"--context. Of two --kubeconfig the first one is that of the router control plane.\n\n" +
			"The file is stored with its certificates and keys in it; credentials that a program makes (exec) are\n" +
			"refused, since routers have no such program.\n\n" +
			"The same cell may be added again: that completes what was cut off and repairs the fence, and another\n" +
			"kubeconfig for the same control plane replaces the stored one. A cell that was drained stays out of the\n" +
			"wanted ring, unless --weight is given; `undrain` takes it back. Of a cell that was failed over\n" +
			"nothing but the credentials, endpoints and labels is renewed; `failback` brings it back.",
		Example: "  # The sixth cell\n  " + env.Program + " add cell-6 --kubeconfig c6.yaml\n\n" +
			"  # One twice as large as others, in another zone; only say what would be done\n  " + env.Program +
			" add cell-7 --kubeconfig c7.yaml --weight 200 --label topology.kubernetes.io/zone=b --dry-run",
		Args: command.Args("a NAME for the cell"),
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	flags.Var(&kubeconfigs{file: &o.kubeconfig, outer: func(file string) error { return cmd.Root().PersistentFlags().Set("kubeconfig", file) }},
		"kubeconfig", "Kubeconfig of the new cell (not of the router control plane)")
	flags.StringVar(&o.cellContext, "cell-context", "", "Context to use in the cell's kubeconfig; its current one by default")
	flags.Int32Var(&o.weight, "weight", placement.DefaultWeight, "Share of the ring relative to other cells, 1 to 1000")
	flags.StringArrayVar(&o.labels, "label", nil, "Label of the cell as KEY=VALUE; may be repeated")
	flags.StringArrayVar(&o.endpoints, "endpoint", nil, "URL of an apiserver of the cell, in place of the kubeconfig's server; may be repeated")
	flags.BoolVar(&o.dryRun, "dry-run", false, "Do all checks and say what would be done, and do nothing")
	o.output.AddFlags(flags)
	o.weightChosen = func() bool { return flags.Changed("weight") }
	return cmd
}

// Complete reads the kubeconfig.
func (o *options) Complete(args []string) (err error) {
	if o.printer, err = o.output.Printer(); err != nil {
		return err
	}
	o.cell = federation.NewCell{Name: args[0], Endpoints: o.endpoints}
	if err := placement.ValidateCellName(args[0]); err != nil {
		return exit.Usagef("%w", err).WithHint("%s add cell-1 --kubeconfig FILE", o.env.Program)
	}
	if o.weightChosen() {
		if err := federation.CheckWeight(o.weight); err != nil {
			return err
		}
		o.cell.Weight = o.weight
	}
	if o.cell.Labels, err = parseLabels(o.labels); err != nil {
		return err
	}
	if o.kubeconfig == "" {
		return exit.Required("kubeconfig").
			WithHint("%s add %s --kubeconfig FILE", o.env.Program, args[0])
	}
	o.cell.Kubeconfig, err = kubeconfig.Read(o.kubeconfig, o.cellContext)
	return err
}

func parseLabels(pairs []string) (map[string]string, error) {
	out := map[string]string{}
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return nil, exit.Flagf("label", printers.Clip(pair), "be KEY=VALUE").
				WithHint("--label topology.kubernetes.io/zone=a")
		}
		out[key] = value
	}
	return out, nil
}

// Run adds the cell.
func (o *options) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	added, err := federation.AddCell(ctx, fed.Config, o.cell, federation.Options{DryRun: o.dryRun})
	if err != nil {
		return err
	}
	described := ringchange.Report{
		Cell: added.Name, Result: result(added), Changed: !added.Already(), DryRun: o.dryRun, Checks: added.Checks,
		Next: ringchange.Next(o.env.Program, added.Change.After),
		Undo: undo(o.env, added),
	}
	switch {
	case added.FailedOver:
		described.Aside = o.env.Program + " failback " + added.Name
	case added.Drained:
		described.Aside = fmt.Sprintf("%s undrain %s   # or: %s remove %s", o.env.Program, added.Name, o.env.Program, added.Name)
	}
	report, err := ringchange.New(ctx, fed, added.Change, described)
	if err != nil {
		return err
	}
	return report.Print(o.env, o.printer)
}

func result(added federation.AddReport) string {
	stored := " updated"
	switch {
	case added.Created:
		stored = " is stored"
	case added.Already():
		stored = " is stored as it was"
	}
	switch {
	case added.FailedOver:
		return "cell " + added.Name + stored + "; it was failed over, and does not join before its failback"
	case added.Drained:
		return "cell " + added.Name + stored + "; it was drained, and stays out of the wanted ring"
	case added.Already():
		return "cell " + added.Name + " is already a member of the wanted ring; nothing to do"
	case added.Change.Changed:
		return "cell " + added.Name + " added"
	}
	return "cell " + added.Name + " updated; it is a member of the wanted ring already"
}

// undo is empty where only credentials, labels or endpoints were replaced.
func undo(env *command.Env, added federation.AddReport) string {
	if !added.Change.Changed {
		return ""
	}
	return env.Program + " drain " + added.Name
}
