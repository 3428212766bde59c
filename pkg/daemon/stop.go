package daemon

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

const (
	poll = 20 * time.Millisecond
	// killPatience is how long the kernel gets to take a killed process away.
	killPatience = 10 * time.Second
)

// Stop ends the daemon that holds the lock: SIGTERM, and SIGKILL when grace has passed or ctx has
// ended. It returns when the lock is free. The result is false, without an error, when nobody held
// the lock.
func Stop(ctx context.Context, lockPath string, grace time.Duration) (bool, error) {
	holder, held, err := Inspect(lockPath)
	if err != nil || !held {
		return false, err
	}
	// The process handle does not pass to another process that gets the same pid. The lock is
	// looked at again, because the handle may have been made too late.
	process, err := os.FindProcess(holder.PID)
	if err != nil {
		return false, fmt.Errorf("find pid %d: %w", holder.PID, err)
	}
	defer process.Release()
	again, held, err := Inspect(lockPath)
	if err != nil {
		return false, err
	}
	if !held {
		return true, nil
	}
	if again.PID != holder.PID {
		return false, fmt.Errorf("stop pid %d: restarted as pid %d meanwhile", holder.PID, again.PID)
	}
	_ = process.Signal(syscall.SIGTERM) // fails only if it has ended, which the lock tells
	graceful, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if awaitRelease(graceful, lockPath, holder.PID) {
		return true, nil
	}
	_ = process.Signal(syscall.SIGKILL)
	killed, cancelKilled := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
	defer cancelKilled()
	if awaitRelease(killed, lockPath, holder.PID) {
		return true, nil
	}
	return false, fmt.Errorf("stop pid %d: it holds %s still, %s after being killed", holder.PID, lockPath, killPatience)
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
		pause(ctx, poll)
	}
}
