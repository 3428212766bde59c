// Package lock owns the proof that at most one process runs a control plane's directory.
//
// The proof is an advisory lock (flock) on the lock file: the kernel drops it when the holder dies, in
// whatever way, so a leftover file never blocks a restart and a recycled pid is never taken for a
// running control plane. The file's content describes the holder and means something only while the
// lock is held. Both halves can be used without this package: flock the file, else read the JSON.
package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
)

// Holder describes the process that holds the lock.
type Holder struct {
	PID       int       `json:"pid"`
	StartTime time.Time `json:"startTime"`
	Address   string    `json:"address,omitempty"` // URL of the apiserver, once it is known
	Version   string    `json:"version"`           // build version of the binary
}

// Lock is a held lock.
type Lock struct {
	file *os.File
}

// patience is for a holder that was killed: the kernel takes a moment to clean up after a large process,
// and whoever killed it may run the next one before that.
const (
	patience = time.Second
	retry    = 20 * time.Millisecond
)

// Acquire takes the lock, or fails within [patience] with exit code [fault.LockHeld].
func Acquire(ctx context.Context, path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock %s: %w", path, err)
	}
	err = wait.PollUntilContextTimeout(ctx, retry, patience, true, func(context.Context) (bool, error) {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return false, nil
		}
		return err == nil, err
	})
	if err == nil {
		return &Lock{file: file}, nil
	}
	defer func() { _ = file.Close() }()
	if !errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return nil, &fault.Error{
		Err:  fmt.Errorf("this control plane is already running%s", describe(file)),
		Hint: "stop the running process first, or give this one another --dir",
		Exit: fault.LockHeld,
	}
}

// Record writes who holds the lock, for those who find it held.
func (l *Lock) Record(h Holder) error {
	data, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("describing the lock's holder: %w", err)
	}
	data = append(data, '\n')
	// One write over the old content and a cut after it: a reader sees no moment with an empty file.
	if _, err := l.file.WriteAt(data, 0); err != nil {
		return fmt.Errorf("writing lock: %w", err)
	}
	if err := l.file.Truncate(int64(len(data))); err != nil {
		return fmt.Errorf("writing lock: %w", err)
	}
	return nil
}

// Release gives the lock up. The file stays: removing it would let two processes hold locks on two
// files of the same name.
func (l *Lock) Release() error {
	return errors.Join(l.file.Truncate(0), l.file.Close())
}

func describe(r io.Reader) string {
	var h Holder
	if err := json.NewDecoder(r).Decode(&h); err != nil {
		return ""
	}
	return fmt.Sprintf(": pid %d since %s %s", h.PID, h.StartTime.Format(time.RFC3339), h.Address)
}
