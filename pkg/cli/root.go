// Package cli puts the commands of kubectl cell together: one root command, its groups, the flags
// that all commands share, and how wrong command lines are answered.
//
// A command lives in its own package below this one and is registered in [NewCommand]. Nothing here
// or there reads the process's own state; main makes a [command.Env] of it.
package cli

import (
	"flag"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/klog/v2"

	"github.com/kubecell/kubectl-cell/pkg/cli/add"
	"github.com/kubecell/kubectl-cell/pkg/cli/backup"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/completion"
	"github.com/kubecell/kubectl-cell/pkg/cli/diff"
	"github.com/kubecell/kubectl-cell/pkg/cli/doctor"
	"github.com/kubecell/kubectl-cell/pkg/cli/drain"
	"github.com/kubecell/kubectl-cell/pkg/cli/events"
	"github.com/kubecell/kubectl-cell/pkg/cli/explain"
	"github.com/kubecell/kubectl-cell/pkg/cli/failover"
	"github.com/kubecell/kubectl-cell/pkg/cli/get"
	"github.com/kubecell/kubectl-cell/pkg/cli/history"
	"github.com/kubecell/kubectl-cell/pkg/cli/initcmd"
	"github.com/kubecell/kubectl-cell/pkg/cli/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/cli/remove"
	"github.com/kubecell/kubectl-cell/pkg/cli/report"
	"github.com/kubecell/kubectl-cell/pkg/cli/router"
	"github.com/kubecell/kubectl-cell/pkg/cli/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/cli/simulate"
	"github.com/kubecell/kubectl-cell/pkg/cli/status"
	"github.com/kubecell/kubectl-cell/pkg/cli/top"
	"github.com/kubecell/kubectl-cell/pkg/cli/verify"
	"github.com/kubecell/kubectl-cell/pkg/cli/version"
	"github.com/kubecell/kubectl-cell/pkg/cli/weight"
	"github.com/kubecell/kubectl-cell/pkg/cli/where"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// group is a heading of the help text and the commands below it, in their order.
type group struct {
	id, title string
	commands  []*cobra.Command
}

// groups lists every command of kubectl cell.
func groups(env *command.Env) []group {
	return []group{
		{"inspect", "Inspect:", []*cobra.Command{
			where.NewCommand(env), get.NewCommand(env), status.NewCommand(env), top.NewCommand(env), events.NewCommand(env), history.NewCommand(env),
			verify.NewCommand(env),
		}},
		{"plan", "Plan:", []*cobra.Command{
			diff.NewCommand(env), simulate.NewCommand(env),
		}},
		{"operate", "Operate:", []*cobra.Command{
			initcmd.NewCommand(env), add.NewCommand(env), drain.NewCommand(env), drain.NewUndrainCommand(env),
			remove.NewCommand(env), weight.NewCommand(env), rebalance.NewCommand(env), failover.NewCommand(env), failover.NewFailbackCommand(env),
		}},
		{"daemons", "Daemons:", []*cobra.Command{
			router.NewCommand(env), backup.NewCommand(env),
		}},
		{"sandbox", "Sandbox:", []*cobra.Command{sandbox.NewCommand(env)}},
		{"support", "Support:", []*cobra.Command{
			doctor.NewCommand(env), report.NewCommand(env), explain.NewCommand(env), completion.NewCommand(env), version.NewCommand(env), newOptionsCommand(env),
		}},
	}
}

// NewCommand returns the root command in the environment env.
func NewCommand(env *command.Env) *cobra.Command {
	root := &cobra.Command{
		Use:   env.PluginFile(),
		Short: "Run a Kubernetes federation as several independent cells",
		Long: "Run a Kubernetes federation as several independent cells.\n\n" +
			"A cell is one small control plane. Each workload lives in exactly one cell, which one is\n" +
			"computed by consistent hashing; a router makes all cells look like one Kubernetes API.",
		Example: "  # Try it on this machine\n  " + env.Program + " sandbox up --cells 3\n\n" +
			"  # In which cell does a deployment live?\n  " + env.Program + " where deploy/checkout -n payments\n\n" +
			"  # What would a changed ring move?\n  " + env.Program + " diff",
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: env.Program},
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.ErrOut)
	for _, g := range groups(env) {
		if len(g.commands) == 0 {
			continue
		}
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, cmd := range g.commands {
			cmd.GroupID = g.id
			root.AddCommand(cmd)
		}
	}
	root.SetHelpCommandGroupID("support")
	root.SetUsageFunc(printUsage)
	root.SetHelpFunc(printHelp)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		env.Aim(root.PersistentFlags())
		return usage(cmd, checkNamespace(env.ChosenNamespace()))
	}
	addGlobalFlags(root, env)
	completion.Register(root, env)
	usageErrors(root)
	return root
}

// checkNamespace refuses what -n names if no namespace can have that name: in vain a server would be asked what is in it.
func checkNamespace(name string) error {
	if name != "" && len(validation.IsDNS1123Label(name)) > 0 {
		return fmt.Errorf("the namespace %q is not a DNS label (a-z, 0-9 and '-', at most 63)", printers.Clip(name))
	}
	return nil
}

// addGlobalFlags binds kubectl's connection flags, and -v, the verbosity of the client libraries'
// log on standard error.
func addGlobalFlags(root *cobra.Command, env *command.Env) {
	env.Flags.AddFlags(root.PersistentFlags())
	if cache := root.PersistentFlags().Lookup("cache-dir"); cache != nil {
		cache.DefValue = "$HOME/.kube/cache" // help texts and documentation are the same for everyone
	}
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	verbosity := flags.Lookup("v")
	verbosity.Usage = "Number for the log level verbosity"
	root.PersistentFlags().AddGoFlag(verbosity)
}
