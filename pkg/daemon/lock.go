package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/pause"
)

// Holder is what a lock file says about the process that holds it.
type Holder struct {
	PID       int       `json:"pid"`
	StartTime time.Time `json:"startTime"`
	// Address is the URL under which the daemon serves, once it is known.
	Address string `json:"address,omitempty"`
	// Admin is the base URL of health and metrics, once it is known; empty where there is none.
	Admin string `json:"admin,omitempty"`
	// Version is the daemon's build version.
	Version string `json:"version,omitempty"`
	// Log is the file to which the daemon writes; empty where it writes to standard error alone.
	Log string `json:"log,omitempty"`
	// Supervisor is who starts the daemon again when it ends, such as "systemd"; empty for nobody.
	Supervisor string `json:"supervisor,omitempty"`
}

// Lock is held until Release, or until the process ends.
type Lock struct {
	file *os.File
}

// HeldError is returned where somebody else holds a lock. Holder may be empty: the other one may
// not have written who it is.
type HeldError struct {
	Path   string
	Holder Holder
}

func (e *HeldError) Error() string {
	if e.Holder.PID == 0 {
		return fmt.Sprintf("lock %s is held by another process", e.Path)
	}
	return fmt.Sprintf("lock %s is held by pid %d since %s", e.Path, e.Holder.PID, e.Holder.StartTime.Format(time.RFC3339))
}

// probePatience is how long an attempt to take a lock outlasts somebody who looks whether it is
// held, which takes that one microseconds.
const probePatience = 100 * time.Millisecond

// AcquireLock takes the lock at path, making the file (0600) where it is missing, or fails with a
// [*HeldError] within a tenth of a second.
func AcquireLock(path string) (*Lock, error) {
	deadline := time.Now().Add(probePatience)
	for {
		lock, err := tryLock(path, exclusive)
		if lock != nil || err != nil {
			return lock, err
		}
		if time.Now().After(deadline) {
			holder, _ := readHolder(path)
			return nil, &HeldError{Path: path, Holder: holder}
		}
		_ = pause.For(context.Background(), 5*time.Millisecond)
	}
}

// mode of a lock.
type mode int

const (
	// exclusive keeps everybody else from locking.
	exclusive mode = iota
	// shared keeps those from locking who want it for themselves alone.
	shared
)

// tryLock returns nil, nil when the lock is held by another process.
func tryLock(path string, how mode) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	lock, err := lockFile(file, path, how)
	if lock == nil {
		return nil, errors.Join(err, file.Close())
	}
	return lock, err
}

func lockFile(file *os.File, path string, how mode) (*Lock, error) {
	if locked, err := lockHandle(file, how); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	} else if !locked {
		return nil, nil
	}
	// The one who held it may have removed the file between our open and our lock; then this is
	// the lock of a file that nobody else can find.
	mine, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	there, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, there) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{file: file}, nil
}

// Record writes who holds the lock. A reader sees the old content or the new, never none.
func (l *Lock) Record(h Holder) error {
	data, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("describe holder of lock: %w", err)
	}
	data = append(data, '\n')
	old, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	if _, err := l.file.WriteAt(padded(data, old.Size()), 0); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	if err := l.file.Truncate(int64(len(data))); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	return nil
}

// padded is a record and spaces up to the end of a longer one before, whose rest would make it none until it is cut off.
func padded(record []byte, old int64) []byte {
	missing := min(old, maxHolder) - int64(len(record))
	return append(bytes.Clone(record), bytes.Repeat([]byte(" "), int(max(missing, 0)))...)
}

// Release gives the lock up and empties the file. The file itself stays.
func (l *Lock) Release() error {
	if err := errors.Join(l.file.Truncate(0), l.file.Close()); err != nil {
		return fmt.Errorf("release lock: %w", err)
	}
	return nil
}

// Inspect says whether the lock at path is held, and by whom. A daemon that took the lock but has
// not recorded itself yet may be missed; one that is reported held was so at that moment.
func Inspect(path string) (Holder, bool, error) {
	holder, err := readHolder(path)
	if err != nil {
		return Holder{}, false, err
	}
	// Nobody there to hold it: no need to touch the lock, which could make a daemon that takes it
	// in this very moment believe it is running twice.
	if holder.PID <= 0 || !alive(holder.PID) {
		return Holder{}, false, nil
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Holder{}, false, nil
	}
	if err != nil {
		return Holder{}, false, fmt.Errorf("inspect lock: %w", err)
	}
	defer file.Close()
	lock, err := lockFile(file, path, shared)
	if err != nil {
		return Holder{}, false, err
	}
	return holder, lock == nil, nil
}

// maxHolder is more than any [Holder] takes, in bytes.
const maxHolder = 64 << 10

// readHolder returns an empty Holder where the file is missing, empty or not ours.
func readHolder(path string) (Holder, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Holder{}, nil
	}
	if err != nil {
		return Holder{}, fmt.Errorf("read lock: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxHolder)) // a device has no end
	if err != nil {
		return Holder{}, fmt.Errorf("read lock: %w", err)
	}
	var h Holder
	if json.Unmarshal(data, &h) != nil {
		return Holder{}, nil
	}
	return h, nil
}
