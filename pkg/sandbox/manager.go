package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/home"
)

// DefaultName is the name of the sandbox where none is given.
const DefaultName = "cell-sandbox"

// Names of the parts of a sandbox that are not cells; they are folders and suffixes of contexts too.
const (
	rcpName    = "rcp"
	routerName = "router"
	backupName = "backup"
	logsName   = "logs"
)

// Manager changes and looks at the sandboxes below one state directory. It keeps nothing in memory:
// any number of Managers, in any number of processes, may work on the same directory.
type Manager struct {
	// StateDir is where sandboxes live; see [home.State].
	StateDir string
	// Executable is kubectl-cell, which is the daemons too.
	Executable string
	// Getenv is os.Getenv, or a test's.
	Getenv func(string) string
	Clock  clock.PassiveClock
	// Progress, where set, is told each change of state. Calls come from several goroutines, one
	// at a time.
	Progress func(Event)
	// DieWithParent ties all processes to this one, for tests.
	DieWithParent bool
	// FreeSpace returns the bytes that can be written below a directory; the file system is
	// asked where nil.
	FreeSpace func(dir string) (uint64, error)

	telling sync.Mutex // serialises calls of Progress
}

// box is one sandbox's directory and the lock on it, and what is known of it.
type box struct {
	m    *Manager
	name string
	lock *daemon.Lock
	// gone is set when the directory has been removed: what is there under its name from then on
	// is somebody else's.
	gone bool
	record
}

func (m *Manager) root() string { return filepath.Join(m.StateDir, "sandboxes") }

func (m *Manager) dir(name string) string { return filepath.Join(m.root(), name) }

// open takes the lock of a sandbox that exists and reads its record. It returns nil, nil where there
// is no such sandbox.
func (m *Manager) open(name string) (*box, error) {
	if err := checkName("sandbox", name); err != nil {
		return nil, err
	}
	if _, err := os.Stat(m.dir(name)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return m.lockBox(name)
}

// openExisting is open where the sandbox must have been begun: missing is the error of one that was not.
func (m *Manager) openExisting(name string, missing error) (*box, error) {
	b, err := m.open(name)
	switch {
	case err != nil:
		return nil, err
	case b == nil:
		return nil, missing
	case b.Name == "":
		return nil, errors.Join(missing, b.close())
	}
	return b, nil
}

// create is open for a sandbox that need not exist yet.
func (m *Manager) create(name string) (*box, error) {
	if err := checkName("sandbox", name); err != nil {
		return nil, err
	}
	// A concurrent down may remove the directory before the lock in it is taken.
	for attempt := 0; ; attempt++ {
		if err := os.MkdirAll(m.dir(name), 0o700); err != nil {
			return nil, home.Unusable(m.StateDir, err, "")
		}
		b, err := m.lockBox(name)
		if errors.Is(err, fs.ErrNotExist) && attempt < 10 {
			continue
		}
		return b, err
	}
}

func (m *Manager) lockBox(name string) (*box, error) {
	lock, err := daemon.AcquireLock(filepath.Join(m.dir(name), "lock"))
	if held, ok := errors.AsType[*daemon.HeldError](err); ok {
		return nil, exit.Refusedf("sandbox %s is being changed by another command (pid %d)", name, held.Holder.PID).
			WithHint("wait until it has ended ; kubectl cell sandbox ls")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, home.Unusable(m.StateDir, err, "")
	}
	b := &box{m: m, name: name, lock: lock}
	if b.record, err = readRecord(m.dir(name)); err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	if err := lock.Record(daemon.Holder{PID: os.Getpid(), StartTime: m.Clock.Now()}); err != nil {
		return nil, errors.Join(home.Unusable(m.StateDir, err, ""), b.close())
	}
	return b, nil
}

// close gives the lock up, and removes a directory in which nothing was begun.
func (b *box) close() error {
	if b.Name == "" && !b.gone {
		if err := b.removeDir(); err != nil {
			return errors.Join(err, b.lock.Release())
		}
	}
	return b.lock.Release()
}

func (b *box) dir(elem ...string) string {
	return filepath.Join(append([]string{b.m.dir(b.name)}, elem...)...)
}

// removeDir deletes everything, the lock last: until then nobody else begins anything here.
func (b *box) removeDir() error {
	entries, err := os.ReadDir(b.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove sandbox %s: %w", b.name, err)
	}
	for _, entry := range entries {
		if entry.Name() == "lock" || entry.Name() == recordFile {
			continue
		}
		if err := os.RemoveAll(b.dir(entry.Name())); err != nil {
			return fmt.Errorf("remove sandbox %s: %w", b.name, err)
		}
	}
	if err := os.RemoveAll(b.dir()); err != nil {
		return fmt.Errorf("remove sandbox %s: %w", b.name, err)
	}
	b.gone = true
	// Directories that are shared with other sandboxes go when they are empty.
	_ = os.Remove(b.m.root())
	_ = os.Remove(b.m.StateDir)
	return nil
}

// checkName refuses what is not a DNS label; what names the thing in the error.
func checkName(what, name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return exit.Usagef("%s name %q is not a DNS label: %s", what, name, strings.Join(problems, "; ")).
			WithHint("choose a name such as %s", map[string]string{"sandbox": "demo", "cell": "cell-4"}[what])
	}
	return nil
}

// since is how long ago t was, to a tenth of a second.
func (m *Manager) since(t time.Time) time.Duration {
	return m.Clock.Since(t).Round(100 * time.Millisecond)
}
