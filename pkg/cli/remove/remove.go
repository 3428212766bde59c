// Package remove is the command `remove`: forget a cell that has left the ring and holds nothing.
package remove

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

type options struct {
	env     *command.Env
	yes     bool
	force   bool
	dir     string
	dryRun  bool
	output  printers.Output
	printer *printers.Printer
	cell    string
}

// Data is the data of `remove -o json`.
type Data struct {
	federation.RemoveReport
	Cell   string `json:"cell"`
	DryRun bool   `json:"dryRun"`
	// GivenUp is absent for a cell that was not failed over.
	GivenUp *failover.Forgotten `json:"givenUp,omitempty"`
}

// shown is how many copies are named.
const shown = 10

// NewCommand returns `remove`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "remove CELL",
		Short: "Forget a cell that has left the ring and holds nothing any more",
		Long: "Delete a cell and its stored credentials. Refused (exit code 4) while the cell is in the wanted, current\n" +
			"or target ring, or still holds workloads, envelopes or tombstones. The control plane itself is left as\n" +
			"it is, but for the fence, which is taken off.\n\n" +
			"With --force nobody looks into the cell: for one that is lost for good, or whose objects are to be left\n" +
			"where they are. A cell of the ring is refused all the same.\n\n" +
			"A cell that was failed over and will never answer again is given up with --force: its name is free for\n" +
			"another control plane, and a failback of it that was cut off has failed. Copies of its objects that were\n" +
			"never brought back are saved to files, and once all are, deleted in the other cells; one that is corrupt is\n" +
			"saved as the Secret that it is. Keep its control plane from being started again: nobody would freeze it. It\n" +
			"is a cell again only once nothing is left in it. Refused while a failover or a rebalance is under way. Run\n" +
			"the command again to go on with one that was cut off.",
		Example: "  # After a drain and a rebalance\n  " + env.Program + " remove cell-3\n\n" +
			"  # After a failover of a cell that is lost for good; what would be done?\n  " + env.Program + " remove cell-3 --force --dry-run",
		Args: command.Args(command.TheCell),
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.yes, "yes", false, "Do not ask for the cell's name as a confirmation")
	flags.BoolVar(&o.force, "force", false, "Do not look into the cell; what it holds stays there, out of the federation's sight")
	flags.StringVar(&o.dir, "dir", "", "Folder for copies of a failed-over cell that were never brought back; remove-CELL where none is given")
	flags.BoolVar(&o.dryRun, "dry-run", false, "Do all checks and say what would be done, and do nothing")
	o.output.AddFlags(flags)
	return cmd
}

// Complete checks the flags.
func (o *options) Complete(args []string) (err error) {
	if o.cell = args[0]; o.dir == "" {
		o.dir = "remove-" + o.cell
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return fmt.Errorf("resolve --dir: %w", err)
	}
	o.printer, err = o.output.Printer()
	return err
}

// Run checks first, asks then, and checks again while it removes.
func (o *options) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	data, err := o.remove(ctx, fed.Config, true)
	if err != nil {
		return err
	}
	if !o.dryRun && !o.yes {
		if err := o.env.ConfirmName(ctx, o.question(&data), o.cell); err != nil {
			return err
		}
	}
	if !o.dryRun {
		rcp := fed.Config
		if data.GivenUp != nil {
			rcp = fed.Patient
		}
		if data, err = o.remove(ctx, rcp, false); err != nil {
			return err
		}
	}
	return o.print(&data)
}

// remove removes the cell, or says what that would do.
func (o *options) remove(ctx context.Context, rcp *rest.Config, dryRun bool) (Data, error) {
	data := Data{Cell: o.cell, DryRun: o.dryRun}
	f := &failover.Forget{RCP: rcp, Identity: o.env.Identity(), Cell: o.cell, Dir: o.dir, Host: o.env.Host(), Force: o.force, DryRun: dryRun}
	var err error
	if data.GivenUp, err = f.Run(ctx); err != nil {
		return data, err
	}
	if data.GivenUp != nil {
		data.Removed = true
		return data, nil
	}
	data.RemoveReport, err = federation.RemoveCell(ctx, rcp, o.cell, federation.RemoveOptions{
		Options: federation.Options{DryRun: dryRun}, Force: o.force,
	})
	return data, err
}

// question says what is agreed to.
func (o *options) question(data *Data) string {
	g := data.GivenUp
	switch {
	case g == nil:
		return fmt.Sprintf("This deletes cell %s and its stored credentials.", o.cell)
	case g.KeptObjects == 0:
		return fmt.Sprintf("This deletes cell %s and its stored credentials, and what its control plane alone has is given up.", o.cell)
	}
	return fmt.Sprintf("This deletes cell %s and its stored credentials, and what its control plane alone has is given up. %s copies that were never brought back are saved to %s and deleted.",
		o.cell, printers.Count(g.KeptObjects), o.dir)
}

func (o *options) print(data *Data) error {
	err := o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("Removal", 0, data),
		Text:     func(w io.Writer, _ printers.Layout) error { return o.text(w, data) },
		Names:    func() []string { return []string{o.cell} },
	})
	if err == nil && data.FenceLeft != "" {
		o.env.Warn("the cell keeps its fence, which refuses writes to objects that the federation has labelled: %s", data.FenceLeft)
	}
	if err != nil || o.dryRun {
		return err
	}
	of := ""
	if data.GivenUp != nil {
		o.env.Warn("keep the control plane of cell %s from being started again: nobody would freeze it", o.cell)
		of = "   # another control plane; the old one only once it is empty"
	}
	if o.printer.Text() {
		fmt.Fprintf(o.env.ErrOut, "undo: %s add %s --kubeconfig FILE%s\n", o.env.Program, o.cell, of)
	}
	return nil
}

func (o *options) text(w io.Writer, data *Data) error {
	var b strings.Builder
	suffix := ""
	if o.dryRun {
		suffix = " (dry run)"
	}
	fmt.Fprintf(&b, "cell %s removed%s\n", o.cell, suffix)
	if g := data.GivenUp; g != nil {
		if g.Epoch > 0 {
			fmt.Fprintf(&b, "it was failed over, and is given up: epoch %d\n", g.Epoch)
		}
		if g.Failback != "" {
			fmt.Fprintf(&b, "failback %s of it is ended\n", g.Failback)
		}
		for i, k := range g.Kept {
			if i == shown {
				fmt.Fprintf(&b, "  … and %s more\n", printers.Count(g.KeptObjects-shown))
				break
			}
			fmt.Fprintf(&b, "  %s: %s\n", strings.ToLower(k.Reason), k.Object)
		}
		if g.KeptObjects > 0 {
			fmt.Fprintf(&b, "%s copies that were never brought back are saved to %s\n", printers.Count(g.KeptObjects), g.Dir)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
