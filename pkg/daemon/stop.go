package daemon

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/pause"
)

const (
	// poll is how often it is looked for what cannot be selected on: a lock, and a line in a file.
	poll = 20 * time.Millisecond
	// killPatience is how long the kernel gets to take a killed process away.
	killPatience = 10 * time.Second
)

// Stop ends the daemon that holds the lock: SIGTERM, and SIGKILL when grace has passed or ctx has
// ended. One that was stopped is continued, to end in order. It returns when the lock is free. The result is
// false, without an error, when nobody held the lock.
func Stop(ctx context.Context, lockPath string, grace time.Duration) (bool, error) {
	holder, process, err := find(lockPath)
	if process == nil || err != nil {
		return false, err
	}
	defer process.Release()
	// It fails where the process has ended, which the lock tells, and on systems that can only kill.
	if err := process.Signal(syscall.SIGTERM); errors.Is(err, errors.ErrUnsupported) {
		grace = 0
	}
	wake(process)
	graceful, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if awaitRelease(graceful, lockPath, holder.PID) {
		return true, nil
	}
	return kill(ctx, process, lockPath, holder.PID)
}

func awaitRelease(ctx context.Context, lockPath string, pid int) bool {
	for {
		holder, held, err := Inspect(lockPath)
		if err == nil && (!held || holder.PID != pid) {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		_ = pause.For(ctx, poll)
	}
}
