// Package command owns the command line: flags, their checks and the text of help. The work is done by
// the packages controlplane and controllers.
package command

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
)

// Process is what a command may use of the process it runs in.
type Process struct {
	Version string // build version of the binary
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
}

// Execute runs the command line. Its errors carry exit codes, see [fault.Code].
func Execute(ctx context.Context, p Process, args []string) error {
	root := &cobra.Command{
		Use:           "cell-controlplane",
		Short:         "A complete Kubernetes control plane without nodes, as one binary",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetArgs(args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	root.AddCommand(newRun(p), newControllers(p), newVersion(p))
	err := root.ExecuteContext(ctx)
	var done ran
	switch {
	case err == nil:
		return nil
	case errors.As(err, &done):
		return done.err
	default:
		return usage(err)
	}
}

// ran marks an error of a command that was understood, to tell it from one of the command line.
type ran struct{ err error }

func (r ran) Error() string { return r.err.Error() }

func (r ran) Unwrap() error { return r.err }

// running turns a function into the form that cobra calls.
func running(f func(ctx context.Context) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		err := f(cmd.Context())
		var bad *fault.Error
		if err == nil || (errors.As(err, &bad) && bad.Exit == fault.Usage) {
			return err
		}
		return ran{err}
	}
}

func usage(err error) error {
	return &fault.Error{Err: err, Hint: "see cell-controlplane --help", Exit: fault.Usage}
}
