// Package backup holds the commands for the backup daemon.
package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/version"
)

const (
	// defaultListen keeps health and metrics on this machine, where nobody has asked for more.
	defaultListen = "127.0.0.1:8097"
	// lockName of the daemon's lock below its state directory.
	lockName = "lock"
)

// NewCommand returns "backup" and its subcommands.
func NewCommand(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Run the daemon that keeps the cells true to each other",
		Example: "  # Work in the foreground\n  " + env.Program + " backup run --rcp-kubeconfig rcp.conf" +
			" --state-dir /var/lib/kubectl-cell/backup",
	}
	cmd.AddCommand(newRun(env))
	return cmd
}

// runOptions are the flags of "backup run".
type runOptions struct {
	env        *command.Env
	kubeconfig string
	context    string
	stateDir   string
	listen     string
}

func newRun(env *command.Env) *cobra.Command {
	o := &runOptions{env: env}
	cmd := &cobra.Command{
		Use:   "run --rcp-kubeconfig FILE --state-dir DIR",
		Short: "Work in the foreground until SIGTERM",
		Long: `Work in the foreground until SIGTERM.

The daemon keeps the copies of namespaces, definitions, RBAC, quotas and whatever else is
Replicated in every cell equal to their sources in the router control plane, and lets a
namespace that is being deleted go once every cell has emptied it. A federation needs one;
of several, the one that holds the Lease kubecell-backup in kubecell-system works, and the
others stand by.

One line "ready URL" on standard output says where /healthz and /metrics are; logs are JSON
on standard error.`,
		Example: "  " + env.Program + " backup run --rcp-kubeconfig rcp.conf --state-dir /var/lib/kubectl-cell/backup",
		Args:    cobra.NoArgs,
		RunE:    command.RunE(o),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.kubeconfig, "rcp-kubeconfig", "", "kubeconfig of the router control plane (required)")
	flags.StringVar(&o.context, "rcp-context", "", "context in that kubeconfig; its current one where empty")
	flags.StringVar(&o.stateDir, "state-dir", "", "directory for the lock (required)")
	flags.StringVar(&o.listen, "listen", defaultListen, "host:port of health and metrics, which need no credentials; port 0: a free one")
	return cmd
}

// Complete checks what can be checked without the network.
func (o *runOptions) Complete([]string) error {
	for _, required := range []struct{ flag, value string }{
		{"rcp-kubeconfig", o.kubeconfig}, {"state-dir", o.stateDir},
	} {
		if required.value == "" {
			return exit.Usagef("--%s is required", required.flag).WithHint("%s backup run --help", o.env.Program)
		}
	}
	if _, _, err := net.SplitHostPort(o.listen); err != nil {
		return exit.Usagef("--listen is %q; it must be host:port", o.listen).
			WithHint("%s backup run --listen %s", o.env.Program, defaultListen)
	}
	return nil
}

// Run works until ctx ends.
func (o *runOptions) Run(ctx context.Context) error {
	config, err := o.rcpConfig()
	if err != nil {
		return err
	}
	lock, err := o.lock()
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return errors.Join(fmt.Errorf("name this machine: %w", err), lock.Release())
	}
	logger := slog.New(slog.NewJSONHandler(o.env.ErrOut, nil))
	klog.SetSlogLogger(logger)
	err = backup.Run(ctx, backup.Config{
		RCP:      config,
		Identity: host + "_" + string(uuid.NewUUID()),
		Listen:   o.listen,
		Logger:   logger,
		Now:      o.env.Clock.Now,
		Ready: func(url string) {
			o.record(lock, logger, url)
			fmt.Fprintf(o.env.Out, "%s%s\n", daemon.ReadyPrefix, url)
		},
	})
	return errors.Join(err, lock.Release())
}

func (o *runOptions) rcpConfig() (*rest.Config, error) {
	loader := &clientcmd.ClientConfigLoadingRules{ExplicitPath: o.kubeconfig}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(loader,
		&clientcmd.ConfigOverrides{CurrentContext: o.context}).ClientConfig()
	if err != nil {
		return nil, exit.Errorf(exit.Failure, "read --rcp-kubeconfig: %w", err).
			WithHint("kubectl --kubeconfig %s get rings", o.kubeconfig)
	}
	config.UserAgent = "kubectl-cell-backup/" + version.Get().Version
	return config, nil
}

func (o *runOptions) lock() (*daemon.Lock, error) {
	if err := os.MkdirAll(o.stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	lock, err := daemon.AcquireLock(filepath.Join(o.stateDir, lockName))
	var held *daemon.HeldError
	if errors.As(err, &held) {
		return nil, exit.Refusedf("another backup daemon (pid %d) uses the state directory %s", held.Holder.PID, o.stateDir).
			WithHint("give each daemon a --state-dir of its own")
	}
	return lock, err
}

// record tells whoever inspects the lock where this daemon serves.
func (o *runOptions) record(lock *daemon.Lock, logger *slog.Logger, url string) {
	holder := daemon.Holder{PID: os.Getpid(), StartTime: o.env.Clock.Now(), Address: url, Version: version.Get().Version}
	if err := lock.Record(holder); err != nil {
		logger.Error("cannot write the lock file", "err", err)
	}
}
