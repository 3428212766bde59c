package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/home"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/version"
)

// LockName of a daemon's lock below its state directory.
const LockName = "lock"

const (
	// LogSizeFlag says, in MiB, at which size a daemon puts its log aside.
	LogSizeFlag = "log-max-size"
	// defaultLogSize is its default.
	defaultLogSize = 64
)

// Daemon is what the commands that run a daemon in the foreground have in common: access to the RCP, a
// state directory with a lock, a log as JSON, a line when the daemon is ready, and word to a service manager.
//
// SIGHUP does not end a daemon: it opens its log file anew. There is nothing else to load again, since the
// files that a daemon is given are followed.
type Daemon struct {
	Env *Env
	// Command is the one that the daemon belongs to, such as "router".
	Command string
	// Another is how a second one is called, and Each any of them.
	Another, Each string
	// StateDir holds the lock and what the daemon keeps.
	StateDir string
	// Admin is the base URL of health and metrics. Work sets it before it says that it is ready.
	Admin string

	kubeconfig string
	context    string
	logFile    string
	logSize    int
}

// AddFlags adds the flags of all daemons. stateDir says what the state directory holds.
func (d *Daemon) AddFlags(flags *pflag.FlagSet, stateDir string) {
	flags.StringVar(&d.kubeconfig, "rcp-kubeconfig", "", "Kubeconfig of the router control plane (required)")
	flags.StringVar(&d.context, "rcp-context", "", "Context in that kubeconfig; its current one where empty")
	flags.StringVar(&d.StateDir, "state-dir", "",
		stateDir+fmt.Sprintf("; where empty, %s below $%s, else below $XDG_STATE_HOME/kubectl-cell", d.Command, home.Env))
	flags.StringVar(&d.logFile, "log-file", "", "File to append the log to, opened anew at SIGHUP; standard error where empty")
	flags.IntVar(&d.logSize, LogSizeFlag, defaultLogSize,
		"Size in MiB at which that file is put aside under its name and "+daemon.PreviousLog+", replacing the one before")
}

// PathFlags are those of the flags of all daemons whose values are paths.
func PathFlags() []string { return []string{"rcp-kubeconfig", "state-dir", "log-file"} }

// Hinted is an error in how the command was called, with where to read more.
func (d *Daemon) Hinted(err *exit.Error) error {
	return err.WithHint("%s %s run --help", d.Env.Program, d.Command)
}

// Require refuses required flags that were not given, and chooses the state directory where none was. The
// pairs are flags and their values.
func (d *Daemon) Require(others ...[2]string) (err error) {
	for _, r := range append([][2]string{{"rcp-kubeconfig", d.kubeconfig}}, others...) {
		if r[1] == "" {
			return d.Hinted(exit.Required(r[0]))
		}
	}
	if d.logSize < 1 {
		return d.Hinted(exit.Flagf(LogSizeFlag, d.logSize, "be 1 or more"))
	}
	d.StateDir, err = DaemonDir(d.Env, d.Command, d.StateDir)
	return err
}

// DaemonDir is the state directory of the daemon of a command: the one given, else one below that of kubectl cell.
func DaemonDir(env *Env, name, given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	state, err := home.State(env.Getenv)
	return filepath.Join(state, name), err
}

// Directory is the state directory, once it is known.
func (d *Daemon) Directory() string { return d.StateDir }

// Run holds the lock while work runs, which calls ready with its URL once it can be used. ctx is work's; its end
// is the beginning of the daemon's.
func (d *Daemon) Run(ctx context.Context, work func(rcp *rest.Config, logger *slog.Logger, ready func(url string)) error) (err error) {
	config, err := d.rcpConfig()
	if err != nil {
		return err
	}
	lock, err := d.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	holder := daemon.Holder{
		PID: os.Getpid(), StartTime: d.Env.Clock.Now(), Version: version.Get().Version, Log: d.logFile, Supervisor: d.supervisor(),
	}
	// Whoever starts a second one, or wants this one to end, finds it before it is ready, too.
	if err := lock.Record(holder); err != nil {
		return Unusable(d.StateDir, err)
	}
	out, closeLog, err := d.openLog()
	if err != nil {
		return err
	}
	defer closeLog()
	logger := slog.New(slog.NewJSONHandler(out, nil))
	klog.SetSlogLogger(logger)
	defer context.AfterFunc(ctx, func() { d.notify(logger, daemon.NotifyStopping) })()
	return work(config, logger, func(url string) {
		holder.Address, holder.Admin = url, d.Admin
		if err := lock.Record(holder); err != nil {
			logger.Error("cannot write the lock file", "err", err)
		}
		fmt.Fprintf(d.Env.Out, "%s%s\n", daemon.ReadyPrefix, url)
		d.notify(logger, daemon.NotifyReady)
	})
}

// supervisor is who starts the daemon again, as far as it can be known.
func (d *Daemon) supervisor() string {
	if d.Env.Getenv(daemon.NotifySocketEnv) != "" {
		return "systemd"
	}
	return ""
}

// notify tells the service manager, if there is one. A word that does not arrive ends no daemon.
func (d *Daemon) notify(logger *slog.Logger, state string) {
	ctx := context.Background() // also the end is told
	if err := daemon.Notify(ctx, d.Env.Getenv(daemon.NotifySocketEnv), state); err != nil {
		logger.Warn("cannot tell the service manager", "state", state, "err", err)
	}
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
		return nil, Unusable(d.StateDir, err)
	}
	lock, err := daemon.AcquireLock(filepath.Join(d.StateDir, LockName))
	var held *daemon.HeldError
	if errors.As(err, &held) {
		return nil, exit.Refusedf("another %s (pid %d) uses the state directory %s", d.Another, held.Holder.PID, d.StateDir).
			WithHint("give each %s a --state-dir of its own", d.Each)
	}
	if err != nil {
		return nil, Unusable(d.StateDir, err)
	}
	return lock, nil
}

// Unusable is the error of a daemon's state directory that cannot be written to.
func Unusable(dir string, err error) error { return home.Unusable(dir, err, "--state-dir") }

// openLog returns where the log goes. From then on SIGHUP does not end the daemon, unless a person looks at it: then
// it ends with the terminal.
func (d *Daemon) openLog() (out io.Writer, closeLog func(), err error) {
	reopen := func() error { return nil }
	out, closeLog = printers.Verbatim(d.Env.ErrOut), func() {}
	if d.logFile != "" {
		file, err := daemon.OpenRotating(d.logFile, int64(d.logSize)<<20, d.crashInto)
		if err != nil {
			return nil, nil, exit.Errorf(exit.Failure, "--log-file: %w", err).WithHint("choose a file that you may write to")
		}
		out, reopen = file, file.Reopen
		closeLog = func() { _ = file.Close() } // all was written before
	}
	if d.Env.Hangup != nil && !d.Env.Interactive {
		d.Env.Hangup(func() {
			if err := reopen(); err != nil {
				fmt.Fprintf(d.Env.ErrOut, "error: %v\n", err)
			}
		})
	}
	return out, closeLog, nil
}
