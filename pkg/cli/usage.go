package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubecell/kubectl-cell/pkg/cli/suggest"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// usageErrors makes every wrong command line below cmd a usage error of one line with a hint:
// unknown commands and flags, and arguments that a command's own check refuses. Cobra would answer
// with plain errors and the whole help text.
func usageErrors(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(flagError)
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = helpOrUnknown
	} else if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			return usage(cmd, check(cmd, args))
		}
	}
	for _, child := range cmd.Commands() {
		usageErrors(child)
	}
}

// helpOrUnknown runs a command that only holds others.
func helpOrUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	err := exit.Usagef("unknown command %q for %q", printers.Clip(args[0]), cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return err.WithHint("did you mean this? %s %s", cmd.CommandPath(), near[0])
	}
	return err.WithHint("%s --help", cmd.CommandPath())
}

func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	// In "cell nonsense --flag" the first thing that is wrong is the command.
	if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
		return helpOrUnknown(cmd, words)
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usage(cmd, err)
	}
	// A negative number where a number is wanted, such as a weight, is not meant as a flag.
	if short := unknown.GetSpecifiedShortnames(); short != "" && strings.Trim(short, "0123456789.") == "" {
		return exit.Usagef("-%s is negative; %s takes no negative number", printers.Clip(short), cmd.CommandPath()).
			WithHint("%s --help", cmd.CommandPath())
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := suggest.Closest(unknown.GetSpecifiedName(), names); near != "" && unknown.GetSpecifiedShortnames() == "" {
		return exit.Usagef("%w", err).WithHint("did you mean --%s? %s --help", near, cmd.CommandPath())
	}
	return usage(cmd, err)
}

// usage makes err a usage error that points to the help of cmd, unless it is one for people already.
func usage(cmd *cobra.Command, err error) error {
	var known *exit.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	// Cobra takes every word for a command, even where there are none.
	if rest, ok := strings.CutPrefix(line, "unknown command "); ok && !cmd.HasSubCommands() {
		line = "unexpected argument " + rest
	}
	return exit.Usagef("%s", printers.ClipTo(line, 200)).WithHint("%s --help", cmd.CommandPath())
}
