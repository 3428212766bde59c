package launch

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/home"
)

const (
	// unitsHome is where units keep the state of daemons, each in a folder below.
	unitsHome = varLib + "kubectl-cell"
	// UnitsHomeEnv names the variable that overrides where the state of units is looked for.
	UnitsHomeEnv = "KUBECTL_CELL_UNITS_HOME"
)

// Unit is the name under which `export systemd` has its unit installed.
func (p Program) Unit() string { return "kubectl-cell-" + p.Name }

// find is where the daemon of this machine keeps its things, for commands that look at one which runs or has run. Without
// a flag that is the user's own place or that of the unit: the one where a daemon runs, else the one where one ran last.
// Whoever has chosen a home for all state is not led elsewhere.
func (p Program) find(flag string) (place, error) {
	own, err := p.placeOf(flag)
	if err != nil || flag != "" || p.Env.Getenv(home.Env) != "" {
		return own, err
	}
	if _, held, err := daemon.Inspect(own.lock()); held || err != nil {
		return own, nil // whoever looks at it gets the error, too
	}
	unit := place{dir: filepath.Join(cmp.Or(p.Env.Getenv(UnitsHomeEnv), unitsHome), p.Name), unit: true}
	unit.given = " --state-dir " + unit.dir
	_, held, err := daemon.Inspect(unit.lock())
	switch {
	case errors.Is(err, fs.ErrPermission):
		own.hidden = unit.dir
	case err == nil && (held || laterThan(unit.lock(), own.lock())):
		return unit, nil
	}
	return own, nil
}

// laterThan says whether a lock was taken or given up after another one, which may be missing.
func laterThan(lock, another string) bool {
	mine, err := os.Stat(lock)
	if err != nil {
		return false
	}
	other, err := os.Stat(another)
	return err != nil || mine.ModTime().After(other.ModTime())
}

// ofUnit says whether the daemon is that of a unit, or may be: its state is there, for other eyes.
func (l place) ofUnit() bool { return l.unit || l.hidden != "" }

// noteHidden tells of a place that could not be looked into.
func (p Program) noteHidden(at place, verb, orElse string) {
	if at.hidden != "" {
		fmt.Fprintf(p.Env.ErrOut, "one may run as a unit, whose state %s is for other users: sudo %s %s %s --state-dir %s, or: %s\n",
			at.hidden, p.Env.Program, p.Name, verb, at.hidden, orElse)
	}
}

// journal is the command that shows the log of the unit.
func (p Program) journal() string { return "journalctl -u " + p.Unit() }
