package sandbox

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

type lsOptions struct {
	env     *command.Env
	output  printers.Output
	printer *printers.Printer
}

func newLs(env *command.Env) *cobra.Command {
	o := &lsOptions{env: env}
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the sandboxes of this machine",
		Long:    "List your sandboxes on this machine and what runs of them. Up: all of it; Degraded: some; Down: none.",
		Example: "  " + env.Program + " sandbox ls\n\n" +
			"  # Process ids and log files\n  " + env.Program + " sandbox ls -o json",
		Args: cobra.NoArgs,
		RunE: command.RunE(o),
	}
	o.output.AddFlags(cmd.Flags())
	return cmd
}

// Complete checks the output format.
func (o *lsOptions) Complete([]string) (err error) {
	o.printer, err = o.output.Printer()
	return err
}

// Run prints the list.
func (o *lsOptions) Run(context.Context) error {
	m, err := manager(o.env, nil)
	if err != nil {
		return err
	}
	list, err := m.List()
	if err != nil {
		return err
	}
	now := o.env.Clock.Now()
	return o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("SandboxList", 0, list),
		Names:    func() []string { return names(list) },
		Text: func(w io.Writer, layout printers.Layout) error {
			if len(list) == 0 {
				fmt.Fprintf(o.env.ErrOut, "there are no sandboxes; start one: %s sandbox up\n", o.env.Program)
				return nil
			}
			return table(list, layout, now).Write(w)
		},
	})
}

func names(list []sandbox.Status) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, s.Name)
	}
	return out
}

func table(list []sandbox.Status, layout printers.Layout, now time.Time) printers.Table {
	t := layout.Table("NAME", "STATE", "CELLS", "ROUTER", "AGE")
	if layout.Wide {
		t.Header = append(t.Header, "CONTEXT")
	}
	for _, s := range list {
		row := []string{
			s.Name, string(s.State), fmt.Sprintf("%d/%d", s.CellsUp, len(s.Cells)),
			s.Router.Address, printers.Age(now.Sub(s.Created)),
		}
		if layout.Wide {
			row = append(row, s.Context)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
