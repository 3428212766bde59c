// Package launch holds the commands that start, stop, restart and watch a daemon of this machine, which the
// router and the backup daemon share: each of them is a [Program] whose foreground command is `run`.
//
// A daemon is found by its state directory: the lock in it says who runs, the file flags.json with which
// flags it was started, and its log is there unless --log-file says otherwise. That of a systemd unit has one
// below /var/lib, which find.go knows. Nothing else is kept, and
// nothing here needs the router control plane, so that it works while that is down.
//
// Not promised: that a daemon comes back after a reboot, or when it crashes. A service manager does that;
// see `export`.
//
// Start reading at [Program] and start.go.
package launch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
)

// Runner is what the flags of `run` fill.
type Runner interface {
	// Complete checks the flags, without the network, and chooses what was not given.
	Complete(args []string) error
	// Directory is the state directory, after Complete.
	Directory() string
}

// Ask reads a path at the admin port of a daemon.
type Ask func(ctx context.Context, path string) ([]byte, error)

// Program is a daemon as these commands see it.
type Program struct {
	Env *command.Env
	// Name is the command that holds `run`, and the folder below the state directory.
	Name string
	// Noun is what messages call it.
	Noun string
	// Required are the required flags of `run`, as a usage line shows them.
	Required string
	// Flags adds the flags of `run` to a set.
	Flags func(*pflag.FlagSet) Runner
	// Paths are those flags beside [command.PathFlags] whose values are paths: the daemon is started with
	// absolute ones, since it may be restarted from elsewhere.
	Paths []string
	// Pods is how it runs in pods.
	Pods Pods
	// Examine adds what only this daemon can tell of itself.
	Examine func(ctx context.Context, ask Ask, status *Status) error
}

const (
	// LogName of the log below the state directory.
	LogName = "log"
	// askTimeout is enough for an answer from the same machine.
	askTimeout = 2 * time.Second
	// maxAnswer bounds what is read of one, in bytes.
	maxAnswer = 8 << 20
)

// Commands are start, stop, restart, status, logs and export.
func Commands(p Program) []*cobra.Command {
	return []*cobra.Command{newStart(p), newStop(p), newRestart(p), newStatus(p), newLogs(p), newExport(p)}
}

// example is a command line of this program, indented, below a remark.
func (p Program) example(remark, line string) string {
	return fmt.Sprintf("  # %s\n  %s %s %s", remark, p.Env.Program, p.Name, line)
}

// place is where a daemon keeps its things.
type place struct {
	dir string
	// given is the flag that names dir, for hints; empty where it is the usual one.
	given string
	// unit says that it is the one of a unit.
	unit bool
	// hidden is where a unit has its things, too, which the user may not see; empty where there is none.
	hidden string
}

// placeOf is the place that the flag --state-dir names.
func (p Program) placeOf(flag string) (place, error) {
	dir, err := command.DaemonDir(p.Env, p.Name, flag)
	if err != nil {
		return place{}, err
	}
	at := place{dir: dir}
	if usual, err := command.DaemonDir(p.Env, p.Name, ""); err != nil || usual != dir {
		at.given = " --state-dir " + dir
	}
	return at, nil
}

func (l place) lock() string { return filepath.Join(l.dir, command.LockName) }

// log is where the log is, unless a flag says otherwise.
func (l place) log() string { return filepath.Join(l.dir, LogName) }

// hint is a command line for this place.
func (p Program) hint(l place, verb string) string {
	return fmt.Sprintf("%s %s %s%s", p.Env.Program, p.Name, verb, l.given)
}

// stateDirFlag is the flag of the commands that look at what runs; see find.
func (p Program) stateDirFlag(flags *pflag.FlagSet, dir *string) {
	flags.StringVar(dir, "state-dir", "", "State directory of the "+p.Noun+", where that is neither the usual one nor that of its unit")
}

// AskAt reads what the admin port at base answers.
func AskAt(base string) Ask {
	client := &http.Client{Timeout: askTimeout}
	return func(ctx context.Context, path string) ([]byte, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
		if err != nil {
			return nil, fmt.Errorf("ask the admin port: %w", err)
		}
		defer client.CloseIdleConnections()
		response, err := client.Do(request)
		if err != nil {
			return nil, fmt.Errorf("ask the admin port: %w", err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		if err != nil {
			return nil, fmt.Errorf("read %s of the admin port: %w", path, err)
		}
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s answers %s", path, response.Status)
		}
		return body, nil
	}
}
