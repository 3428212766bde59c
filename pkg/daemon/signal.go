package daemon

import (
	"context"
	"fmt"
	"os"
	"syscall"
)

// Signal sends a signal to the daemon that holds the lock. The result is false, without an error, when nobody holds
// it.
func Signal(lockPath string, signal syscall.Signal) (bool, error) {
	_, process, err := find(lockPath)
	if process == nil || err != nil {
		return false, err
	}
	defer process.Release()
	if err := process.Signal(signal); err != nil {
		return false, fmt.Errorf("send %v to pid %d: %w", signal, process.Pid, err)
	}
	return true, nil
}

// Kill ends the daemon that holds the lock at once, as a crash of its machine would, and returns when the lock is
// free. The result is false, without an error, when nobody held it.
func Kill(ctx context.Context, lockPath string) (bool, error) {
	holder, process, err := find(lockPath)
	if process == nil || err != nil {
		return false, err
	}
	defer process.Release()
	return kill(ctx, process, lockPath, holder.PID)
}

func kill(ctx context.Context, process *os.Process, lockPath string, pid int) (bool, error) {
	_ = process.Signal(syscall.SIGKILL) // fails only if it has ended, which the lock tells
	killed, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
	defer cancel()
	if awaitRelease(killed, lockPath, pid) {
		return true, nil
	}
	return false, fmt.Errorf("stop pid %d: it holds %s still, %s after being killed", pid, lockPath, killPatience)
}

// find returns the process that holds the lock, nil for none. The handle does not pass to another process that gets
// the same pid. The lock is looked at again, because the handle may have been made too late.
func find(lockPath string) (Holder, *os.Process, error) {
	holder, held, err := Inspect(lockPath)
	if err != nil || !held {
		return Holder{}, nil, err
	}
	process, err := os.FindProcess(holder.PID)
	if err != nil {
		return Holder{}, nil, fmt.Errorf("find pid %d: %w", holder.PID, err)
	}
	again, held, err := Inspect(lockPath)
	if err == nil && held && again.PID == holder.PID {
		return holder, process, nil
	}
	_ = process.Release() // it is not the one
	if err == nil && held {
		err = fmt.Errorf("signal pid %d: restarted as pid %d meanwhile", holder.PID, again.PID)
	}
	return Holder{}, nil, err
}
