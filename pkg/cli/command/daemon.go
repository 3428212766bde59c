package command

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/version"
)

// lockName of a daemon's lock below its state directory.
const lockName = "lock"

// Daemon is what the commands that run a daemon in the foreground have in common: access to the RCP, a
// state directory with a lock, logs as JSON on standard error, and a line when the daemon is ready.
type Daemon struct {
	Env *Env
	// Command is the one that the daemon belongs to, such as "router".
	Command string
	// Another is how a second one is called, and Each any of them.
	Another, Each string
	// StateDir holds the lock and what the daemon keeps.
	StateDir string

	kubeconfig string
	context    string
}

// AddFlags adds the flags of all daemons. stateDir says what the state directory holds.
func (d *Daemon) AddFlags(flags *pflag.FlagSet, stateDir string) {
	flags.StringVar(&d.kubeconfig, "rcp-kubeconfig", "", "kubeconfig of the router control plane (required)")
	flags.StringVar(&d.context, "rcp-context", "", "context in that kubeconfig; its current one where empty")
	flags.StringVar(&d.StateDir, "state-dir", "", stateDir+" (required)")
}

// Usagef is an error in how the command was called.
func (d *Daemon) Usagef(format string, args ...any) error {
	return exit.Usagef(format, args...).WithHint("%s %s run --help", d.Env.Program, d.Command)
}

// Require refuses required flags that were not given. The pairs are flags and their values.
func (d *Daemon) Require(others ...[2]string) error {
	required := append([][2]string{{"rcp-kubeconfig", d.kubeconfig}}, others...)
	for _, r := range append(required, [2]string{"state-dir", d.StateDir}) {
		if r[1] == "" {
			return d.Usagef("--%s is required", r[0])
		}
	}
	return nil
}

// Run holds the lock while work runs, which calls ready with its URL once it can be used.
func (d *Daemon) Run(work func(rcp *rest.Config, logger *slog.Logger, ready func(url string)) error) error {
	config, err := d.rcpConfig()
	if err != nil {
		return err
	}
	lock, err := d.lock()
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewJSONHandler(d.Env.ErrOut, nil))
	klog.SetSlogLogger(logger)
	err = work(config, logger, func(url string) {
		d.record(lock, logger, url)
		fmt.Fprintf(d.Env.Out, "%s%s\n", daemon.ReadyPrefix, url)
	})
	return errors.Join(err, lock.Release())
}

func (d *Daemon) rcpConfig() (*rest.Config, error) {
	loader := &clientcmd.ClientConfigLoadingRules{ExplicitPath: d.kubeconfig}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(loader,
		&clientcmd.ConfigOverrides{CurrentContext: d.context}).ClientConfig()
	if err != nil {
		return nil, exit.Errorf(exit.Failure, "read --rcp-kubeconfig: %w", err).
			WithHint("kubectl --kubeconfig %s get rings", d.kubeconfig)
	}
	config.UserAgent = "kubectl-cell-" + d.Command + "/" + version.Get().Version
	return config, nil
}

func (d *Daemon) lock() (*daemon.Lock, error) {
	if err := os.MkdirAll(d.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	lock, err := daemon.AcquireLock(filepath.Join(d.StateDir, lockName))
	var held *daemon.HeldError
	if errors.As(err, &held) {
		return nil, exit.Refusedf("another %s (pid %d) uses the state directory %s", d.Another, held.Holder.PID, d.StateDir).
			WithHint("give each %s a --state-dir of its own", d.Each)
	}
	return lock, err
}

// record tells whoever inspects the lock where the daemon serves.
func (d *Daemon) record(lock *daemon.Lock, logger *slog.Logger, url string) {
	holder := daemon.Holder{PID: os.Getpid(), StartTime: d.Env.Clock.Now(), Address: url, Version: version.Get().Version}
	if err := lock.Record(holder); err != nil {
		logger.Error("cannot write the lock file", "err", err)
	}
}
