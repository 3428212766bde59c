// Package doctor is the command `doctor`: it looks at everything that kubectl cell needs, from the programs on
// PATH to the clocks of the cells, and says of each thing that is wrong what puts it right.
//
// Nothing is changed, but for a file in the state directory that is removed again. What cannot be looked at, because
// something before it is wrong, is left out: the first ✗ is the one to begin with.
//
// Start reading at [Examine].
package doctor

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// State is what a check has found.
type State string

// States of a check.
const (
	OK      State = "ok"
	Warning State = "warning"
	Failed  State = "failed"
)

// Check is one thing that was looked at. It is an API: fields are only ever added.
type Check struct {
	// Name of what was looked at, such as "cell cell-3".
	Name  string `json:"name"`
	State State  `json:"state"`
	// Detail is what was found.
	Detail string `json:"detail"`
	// Fix is a command that helps; absent where all is well.
	Fix string `json:"fix,omitempty"`
}

type options struct {
	env     *command.Env
	output  printers.Output
	printer *printers.Printer
}

// NewCommand returns `doctor`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, and say what puts it right",
		Long: "Look for what is wrong with this machine, the kubeconfig, your rights, the router control plane, the cells\n" +
			"and their fences, the clocks, certificates that end within 30 days, the routers and the backup daemon, and\n" +
			"say of each fault what puts it right. Nothing is changed. What depends on something that is wrong is not\n" +
			"looked at: begin with the first ✗. What the cells hold is not looked at: that is \"verify\".",
		Example: "  " + env.Program + " doctor\n\n  # In a script: 3 when something is wrong\n  " + env.Program + " doctor -o json",
		Args:    cobra.NoArgs,
		RunE:    command.RunE(o),
	}
	o.output.AddFlags(cmd.Flags())
	return cmd
}

// Complete checks the output format.
func (o *options) Complete([]string) (err error) {
	o.printer, err = o.output.Printer()
	return err
}

// Run looks at everything and prints it.
func (o *options) Run(ctx context.Context) error {
	checks, epoch := Examine(ctx, o.env)
	failed := 0
	for _, c := range checks {
		if c.State == Failed {
			failed++
		}
	}
	style := printers.NewStyle(o.env.Interactive, o.env.Getenv)
	err := o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("CheckList", epoch, checks),
		Names:    func() []string { return failedNames(checks) },
		Text: func(w io.Writer, _ printers.Layout) error {
			for _, c := range checks {
				if err := c.print(w, style); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	if failed > 0 {
		return exit.Silent(exit.Findings)
	}
	return ctx.Err()
}

func failedNames(checks []Check) []string {
	var out []string
	for _, c := range checks {
		if c.State == Failed {
			out = append(out, c.Name)
		}
	}
	return out
}

func (c Check) print(w io.Writer, style printers.Style) error {
	mark := map[State]string{OK: style.Good("✔"), Warning: style.Warn("!"), Failed: style.Bad("✗")}[c.State]
	if _, err := fmt.Fprintf(w, "%s %-14s %s\n", mark, c.Name, c.Detail); err != nil {
		return fmt.Errorf("print checks: %w", err)
	}
	if c.Fix == "" {
		return nil
	}
	if _, err := fmt.Fprintf(w, "    fix: %s\n", c.Fix); err != nil {
		return fmt.Errorf("print checks: %w", err)
	}
	return nil
}
