package cli

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// CompletionProgram is the name by which kubectl calls a plugin for completions.
const CompletionProgram = "kubectl_complete-cell"

// ProgramName is what the user typed to get to a binary that is called argv0: kubectl looks for
// "kubectl-cell" when somebody types "kubectl cell", for "kubectl-kube_cell" after "kubectl kube-cell".
// An index of plugins may install this one under another name.
func ProgramName(argv0 string) string {
	name := strings.TrimSuffix(filepath.Base(argv0), ".exe")
	if name == CompletionProgram {
		return "kubectl cell"
	}
	if plugin, ok := strings.CutPrefix(name, "kubectl-"); ok {
		return "kubectl " + strings.ReplaceAll(strings.ReplaceAll(plugin, "-", " "), "_", "-")
	}
	return name
}

// Run carries out one command line: argv is the name of the program and its arguments. It reports
// errors to the environment's standard error and returns the exit code. When ctx was cancelled
// and that is what ended the command, the code is [exit.Detached].
func Run(ctx context.Context, env *command.Env, argv []string) exit.Code {
	args := argv[1:]
	completing := strings.TrimSuffix(filepath.Base(argv[0]), ".exe") == CompletionProgram
	if completing {
		args = append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	root := NewCommand(env)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case completing || len(args) > 0 && isCompletionRequest(args[0]):
		// A shell shows what a failed completion prints in the middle of the line that is typed.
		return exit.OK
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || exit.CodeOf(err) == exit.Failure):
		return exit.Detached
	case errors.Is(err, syscall.EPIPE):
		return exit.CodeOf(err) // whoever read the output has seen enough
	}
	exit.Report(env.ErrOut, err)
	return exit.CodeOf(err)
}

func isCompletionRequest(arg string) bool {
	return arg == cobra.ShellCompRequestCmd || arg == cobra.ShellCompNoDescRequestCmd
}
