// Package verify is the command `verify`: the fsck of the federation.
package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/verify"
)

type options struct {
	env     *command.Env
	repair  bool
	dryRun  bool
	full    bool
	output  printers.Output
	printer *printers.Printer
}

// NewCommand returns `verify`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Find what is not where the ring says, and mend what is safe to mend",
		Long:  long(),
		Example: "  # Look at everything, and change nothing\n  " + env.Program + " verify\n\n" +
			"  # One namespace, with the data of the envelopes\n  " + env.Program + " verify -n payments --full\n\n" +
			"  # Mend what is safe\n  " + env.Program + " verify --repair",
		Args: cobra.NoArgs,
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.repair, "repair", false, "Mend what is safe to mend")
	flags.BoolVar(&o.dryRun, "dry-run", false, "With --repair: say what would be mended, and do nothing")
	flags.BoolVar(&o.full, "full", false, "Read the data of all envelopes as well")
	o.output.AddFlags(flags)
	return cmd
}

func long() string {
	var b strings.Builder
	b.WriteString(`Find what is not where the ring says, and mend what is safe to mend.

All cells are read by metadata, and what they have is compared with the ring, with each other and
with the envelopes. What looks wrong is read again, twice, before it is called a finding: an object
on its way is none. Without --repair nothing is written; -n looks at one namespace only.

`)
	const width, indent = 96, "               " // of the whole text, and up to what is said of a class
	for _, class := range verify.Classes() {
		fmt.Fprintf(&b, "  %-12s %s\n", class, printers.Fold(class.Explain().Meaning, width-len(indent), indent))
	}
	b.WriteString(`
--repair mends what is marked safe, one after the other, each in the version that was judged, while
no rebalance and no failover runs. It can be cut off and run again. For what is not safe the command
for a person is printed. A cell that does not answer is named, and the others are checked.

Ask the router control plane, or a router: the credentials of all cells are read there.`)
	return b.String()
}

// Complete checks the flags.
func (o *options) Complete([]string) (err error) {
	if o.dryRun && !o.repair {
		return exit.Usagef("--dry-run is for --repair: without that nothing is written").WithHint("%s verify", o.env.Program)
	}
	o.printer, err = o.output.Printer()
	return err
}

// Run looks, and mends where that was asked for.
func (o *options) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	line := &line{out: o.env.ErrOut, live: o.env.Draws(o.env.ErrOut)}
	look := verify.Options{RCP: fed.Config, Full: o.full, Progress: line.show, Now: o.env.Clock.Now}
	if o.env.Flags.Namespace != nil {
		look.Namespace = strings.TrimSpace(*o.env.Flags.Namespace)
	}
	var result *verify.Result
	if o.repair && !o.dryRun {
		result, err = verify.Repair(ctx, verify.RepairOptions{Options: look, Identity: o.env.Identity()})
	} else {
		result, err = verify.Run(ctx, look)
	}
	line.clear()
	if err != nil {
		return err
	}
	if err := o.print(result); err != nil {
		return err
	}
	if o.printer.Text() && slices.ContainsFunc(result.Findings, func(f verify.Finding) bool { return f.Repaired }) {
		fmt.Fprintf(o.env.ErrOut, "undo: none; only what nobody could want otherwise was written: %s explain verify\n", o.env.Program)
	}
	return o.verdict(result)
}

// verdict is how the command ends.
func (o *options) verdict(r *verify.Result) error {
	left, failed := r.More, 0
	for i := range r.Findings {
		if f := &r.Findings[i]; !f.Repaired {
			left++
			if f.Problem != "" {
				failed++
			}
		}
	}
	switch {
	case failed > 0:
		return exit.Errorf(exit.Partial, "%d findings could not be mended", failed).WithHint("%s verify --repair%s   # again; each says why", o.env.Program, o.env.Within())
	case left > 0:
		return exit.Silent(exit.Findings)
	case r.Unread():
		return exit.Errorf(exit.Partial, "nothing was found, and not all cells could be checked").WithHint("%s get cells", o.env.Program)
	case r.Uncompared:
		return exit.Errorf(exit.Partial, "nothing was found, and not all envelopes could be compared").
			WithHint("%s verify%s   # again; where the backup does not catch up: %s backup status", o.env.Program, o.env.Within(), o.env.Program)
	}
	return nil
}
