package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
)

// newOptionsCommand returns `options`, which lists the flags of all commands, as kubectl's does:
// repeated under each command they would hide its own.
func newOptionsCommand(env *command.Env) *cobra.Command {
	return &cobra.Command{
		Use:     "options",
		Short:   "List the flags of all commands",
		Example: "  " + env.Program + " options",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(env.Out, "Flags of all commands:\n%s", flagUsages(cmd.InheritedFlags()))
			return err
		},
	}
}

// printUsage writes what the help text of cmd says after its description.
func printUsage(cmd *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage:\n  %s\n", usageLine(cmd))
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	for _, group := range cmd.Groups() {
		printCommands(&b, cmd, group.Title, group.ID)
	}
	printCommands(&b, cmd, "Commands:", "")
	// The root's own flags are those of all commands.
	if flags := cmd.LocalFlags(); flags.HasAvailableFlags() && cmd.HasParent() {
		fmt.Fprintf(&b, "\nFlags:\n%s", flagUsages(flags))
	}
	b.WriteString(exitCodeText(cmd))
	program := cmd.Root().CommandPath()
	b.WriteString("\n")
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "Use \"%s COMMAND --help\" for more about a command.\n", cmd.CommandPath())
	}
	fmt.Fprintf(&b, "Use \"%s options\" for the flags of all commands.\n", program)
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

// printHelp says in one line what cmd does, then all about it, and then how it is used.
func printHelp(cmd *cobra.Command, _ []string) {
	summary, about := cmd.Short+".", strings.TrimSpace(cmd.Long)
	if !strings.HasPrefix(about, summary) {
		about = strings.TrimSpace(summary + "\n\n" + about)
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n%s", about, cmd.UsageString()); err != nil {
		cmd.PrintErrln("error:", err)
	}
}

// Works says whether cmd does something itself, and is not only there to hold others.
func Works(cmd *cobra.Command) bool {
	_, known := ownExitCodes()[PathOf(cmd)]
	return known
}

func usageLine(cmd *cobra.Command) string {
	switch {
	case cmd.HasSubCommands() && Works(cmd):
		return cmd.UseLine() + "\n  " + cmd.CommandPath() + " COMMAND"
	case cmd.HasSubCommands():
		return cmd.CommandPath() + " COMMAND"
	}
	return cmd.UseLine()
}

// printCommands lists the children of cmd that belong to the group.
func printCommands(w io.Writer, cmd *cobra.Command, title, group string) {
	first := true
	for _, child := range cmd.Commands() {
		if child.GroupID != group || !child.IsAvailableCommand() {
			continue
		}
		if first {
			fmt.Fprintf(w, "\n%s\n", title)
			first = false
		}
		fmt.Fprintf(w, "  %-12s %s\n", child.Name(), child.Short)
	}
}

func flagUsages(flags *pflag.FlagSet) string {
	return strings.TrimRight(flags.FlagUsages(), "\n") + "\n"
}
