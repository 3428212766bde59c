// Package completion serves completions: the scripts for the shells, the installation of the file
// that kubectl asks, and the names that only a server knows.
//
// Completions never fail and never make people wait: whatever cannot be found out within a time
// limit is left out, and the exit code is 0.
package completion

import (
	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
)

// NewCommand returns `completion`.
func NewCommand(env *command.Env) *cobra.Command {
	plugin, file := env.Plugin(), env.PluginFile()
	cmd := &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell|install",
		Short: "Complete commands and names in your shell",
		Long: "Complete commands, flags and names in your shell.\n\n" +
			"For `" + plugin + "`, the shell asks kubectl, and kubectl asks a program that `completion install`\n" +
			"puts on your PATH. For `" + file + "` called directly, load the script for your shell.",
		Example: "  # Once, for `" + plugin + " …` (needs kubectl 1.26 or newer and kubectl's own completion)\n" +
			"  " + env.Program + " completion install\n\n" +
			"  # For `" + file + " …` in this bash\n" +
			"  source <(" + file + " completion bash)",
	}
	for _, shell := range shells(file) {
		cmd.AddCommand(newShellCommand(env, shell))
	}
	cmd.AddCommand(newInstallCommand(env))
	return cmd
}

// shell is one shell that cobra can write a script for, and how that is loaded.
type shell struct {
	name, load string
	write      func(env *command.Env, root *cobra.Command) error
}

// shells are those that can complete the command line of a program.
func shells(program string) []shell {
	return []shell{
		{"bash", "source <(" + program + " completion bash)", func(env *command.Env, root *cobra.Command) error {
			return root.GenBashCompletionV2(env.Out, true)
		}},
		{"zsh", "source <(" + program + " completion zsh)", func(env *command.Env, root *cobra.Command) error {
			return root.GenZshCompletion(env.Out)
		}},
		{"fish", program + " completion fish | source", func(env *command.Env, root *cobra.Command) error {
			return root.GenFishCompletion(env.Out, true)
		}},
		{"powershell", powershell(program), func(env *command.Env, root *cobra.Command) error {
			return root.GenPowerShellCompletionWithDesc(env.Out)
		}},
	}
}

func powershell(program string) string {
	return program + " completion powershell | Out-String | Invoke-Expression"
}

func newShellCommand(env *command.Env, s shell) *cobra.Command {
	return &cobra.Command{
		Use:     s.name,
		Short:   "Print the completion script for " + s.name,
		Example: "  # Load it into this shell\n  " + s.load,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.write(env, cmd.Root())
		},
	}
}
