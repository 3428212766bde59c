package cli

import (
	"context"
	"errors"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// Run carries out one command line: argv is the name of the program and its arguments. It reports
// errors to the environment's standard error and returns the exit code. When ctx was cancelled
// and that is what ended the command, the code is [exit.Detached].
func Run(ctx context.Context, env *command.Env, argv []string) exit.Code {
	args := argv[1:]
	completing := command.Completes(argv[0])
	if completing {
		args = append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	env = inLocale(env)
	env.Args = args
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
	exit.Report(env.ErrOut, env.Program, err)
	return exit.CodeOf(err)
}

// inLocale is a copy of env, which prints ASCII alone for people where their locale has no more.
func inLocale(env *command.Env) *command.Env {
	local := *env
	if printers.UTF8(env.Getenv) {
		return &local
	}
	local.Out, local.ErrOut = printers.ASCII(env.Out), printers.ASCII(env.ErrOut)
	return &local
}

func isCompletionRequest(arg string) bool {
	return arg == cobra.ShellCompRequestCmd || arg == cobra.ShellCompNoDescRequestCmd
}
