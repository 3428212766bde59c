// Package backup holds the commands for the backup daemon.
package backup

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/launch"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// podPort of health and metrics in a pod, where nobody else listens on loopback.
const podPort = 8097

// defaultListen keeps health, metrics and profiles on this machine, where nobody has asked for more.
const defaultListen = "127.0.0.1:8097"

// NewCommand returns "backup" and its subcommands.
func NewCommand(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Run the daemon that keeps the cells true to each other",
		Example: "  # Work in the background\n  " + env.Program + " backup start --rcp-kubeconfig rcp.conf\n\n" +
			"  # Work in the foreground\n  " + env.Program + " backup run --rcp-kubeconfig rcp.conf" +
			" --state-dir /var/lib/kubectl-cell/backup",
	}
	cmd.AddCommand(newRun(env), newVerify(env))
	cmd.AddCommand(launch.Commands(Program(env))...)
	return cmd
}

// Program is the daemon as the commands that start and watch it see it.
func Program(env *command.Env) launch.Program {
	return launch.Program{
		Env: env, Name: "backup", Noun: "backup daemon", Required: "--rcp-kubeconfig FILE",
		Flags:   func(flags *pflag.FlagSet) launch.Runner { return newOptions(env, flags) },
		Examine: examine,
		Pods: launch.Pods{
			Role: federation.RoleBackup, PortName: "admin", Port: podPort, AdminPort: podPort, ServicePort: podPort,
			Flags: []string{fmt.Sprintf("--listen=:%d", podPort)},
		},
	}
}

// examine asks a daemon whether it works or stands by.
func examine(ctx context.Context, ask launch.Ask, status *launch.Status) error {
	metrics, err := ask(ctx, "/metrics")
	if err != nil {
		return err
	}
	status.Role = "standby"
	if strings.Contains(string(metrics), "\nkubecell_backup_leader 1\n") {
		status.Role = "leader"
		status.Backups = backupsIn(string(metrics))
	}
	return nil
}

// runOptions are the flags of "backup run".
type runOptions struct {
	command.Daemon
	listen string
}

// newOptions are the options of "run", whose flags are added to a set.
func newOptions(env *command.Env, flags *pflag.FlagSet) *runOptions {
	o := &runOptions{Daemon: command.Daemon{Env: env, Command: "backup", Another: "backup daemon", Each: "daemon"}}
	o.AddFlags(flags, "Directory for the lock")
	flags.StringVar(&o.listen, "listen", defaultListen,
		"Address (host:port) of /healthz, /livez, /readyz, /metrics and /debug/pprof over plain HTTP, without authentication:"+
			" whoever reaches it may read them all, so keep it on loopback; port 0: a free one")
	return o
}

func newRun(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run --rcp-kubeconfig FILE",
		Short: "Work in the foreground until SIGTERM",
		Long: `Work in the foreground until SIGTERM.

The daemon keeps an envelope of every workload in its backup cell, from which a failover
makes it again. It keeps the copies of namespaces, definitions, RBAC, quotas and whatever else is
Replicated in every cell equal to their sources in the router control plane, and lets a
namespace that is being deleted go once every cell has emptied it. A federation needs one;
of several, the one that holds the Lease kubecell-backup in kubecell-system works, and the
others stand by.

One line "ready URL" on standard output says where health, metrics and profiles are; logs are
JSON on standard error, or in --log-file. A service manager that listens at NOTIFY_SOCKET is
told the same. SIGHUP opens the log file anew; certificates and tokens that the kubeconfig
names as files are followed, and need no signal.`,
		Example: "  " + env.Program + " backup run --rcp-kubeconfig rcp.conf --state-dir /var/lib/kubectl-cell/backup",
		Args:    cobra.NoArgs,
	}
	cmd.RunE = command.RunE(newOptions(env, cmd.Flags()))
	return cmd
}

// Complete checks what can be checked without the network.
func (o *runOptions) Complete([]string) error {
	if err := o.Require(); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(o.listen); err != nil {
		return exit.Flagf("listen", printers.Clip(o.listen), "be host:port").
			WithHint("%s backup run --listen %s", o.Env.Program, defaultListen)
	}
	return nil
}

// Run works until ctx ends.
func (o *runOptions) Run(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name this machine: %w", err)
	}
	return o.Daemon.Run(ctx, func(rcp *rest.Config, logger *slog.Logger, ready func(url string)) error {
		return backup.Run(ctx, backup.Config{
			RCP:      rcp,
			Identity: host + "_" + string(uuid.NewUUID()),
			Listen:   o.listen,
			Logger:   logger,
			Now:      o.Env.Clock.Now,
			Ready: func(url string) {
				o.Admin = url
				ready(url)
			},
		})
	})
}
