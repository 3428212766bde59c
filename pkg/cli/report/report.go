// Package report is the command `report`: everything that helps somebody else to find a fault, in one file
// without secrets.
//
// Every byte of the file passes [redactor], whatever it is and wherever it comes from. Secrets are not read in
// the first place. Names of objects, users and servers stay: without them a report says nothing.
//
// Not promised: that a secret of an unknown shape, which somebody has written where no secret belongs, is
// recognised. The command says so, and the file can be looked at before it is sent.
//
// Start reading at collect.go.
package report

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/atomicfile"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

type options struct {
	env   *command.Env
	file  string
	force bool
}

// NewCommand returns `report`.
func NewCommand(env *command.Env) *cobra.Command {
	o := &options{env: env}
	cmd := &cobra.Command{
		Use:   "report -f FILE.zip",
		Short: "Write what helps to find a fault into one file, without secrets",
		Long: "Write what helps somebody else to find a fault into one zip file: versions, what `doctor` finds, Ring,\n" +
			"Cells, runs, their Events, and Leases, the kubeconfig without its credentials, and of the daemons and\n" +
			"sandboxes of this machine their state, flags, metrics and the last megabyte of each log.\n\n" +
			"Secrets are never read; tokens, passwords, keys and certificates are taken out of everything else. Names\n" +
			"of objects, users and servers stay. Look at the file before you send it to anybody.",
		Example: "  " + env.Program + " report -f report.zip && unzip -l report.zip",
		Args:    cobra.NoArgs,
		RunE:    command.RunE(o),
	}
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "File to write (required); it must not exist")
	cmd.Flags().BoolVar(&o.force, "force", false, "Replace the file where it exists")
	return cmd
}

// Complete checks the flags.
func (o *options) Complete([]string) error {
	if o.file == "" {
		return exit.Required("file").WithHint("%s report -f report.zip", o.env.Program)
	}
	if _, err := os.Stat(o.file); err == nil && !o.force {
		return exit.Usagef("%s exists", o.file).WithHint("choose another name, or: --force")
	}
	return nil
}

// Run collects and writes. What cannot be had is named in the file and on standard error.
func (o *options) Run(ctx context.Context) error {
	collected := collect(ctx, o.env)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := atomicfile.Write(o.file, 0o600, collected.zip); err != nil {
		return exit.Errorf(exit.Failure, "write report: %w", err).WithHint("choose a place with room that you may write to: -f FILE")
	}
	fmt.Fprintf(o.env.Out, "wrote %s: %d files\n", o.file, len(collected.files))
	fmt.Fprintf(o.env.ErrOut, "secrets of a known shape were taken out, names were not: look at it before you send it\n")
	for _, problem := range collected.missing {
		o.env.Warn("missing: %s", problem)
	}
	if len(collected.missing) > 0 {
		return exit.Silent(exit.Partial)
	}
	return nil
}

// collection is what was collected, by the path in the zip file.
type collection struct {
	files   map[string][]byte
	missing []string
}

func (c *collection) add(path string, data []byte) { c.files[path] = data }

// lacks notes what could not be had.
func (c *collection) lacks(what string, err error) {
	c.missing = append(c.missing, fmt.Sprintf("%s: %v", what, err))
}

func (c *collection) zip(w io.Writer) error {
	clean := newRedactor()
	c.add("missing.txt", []byte(strings.Join(append(c.missing, ""), "\n")))
	archive := zip.NewWriter(w)
	paths := make([]string, 0, len(c.files))
	for path := range c.files {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		entry, err := archive.Create("report/" + path)
		if err != nil {
			return err
		}
		if _, err := entry.Write(clean.clean(c.files[path])); err != nil {
			return err
		}
	}
	return archive.Close()
}
