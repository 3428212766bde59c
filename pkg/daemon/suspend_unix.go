//go:build unix

package daemon

import (
	"os"
	"syscall"
)

// Suspend has the daemon that holds the lock stand still, as one that hangs. The result is false, without an
// error, when nobody holds it.
func Suspend(lockPath string) (bool, error) { return Signal(lockPath, syscall.SIGSTOP) }

// Resume is the opposite of Suspend, and does nothing to a daemon that runs.
func Resume(lockPath string) (bool, error) { return Signal(lockPath, syscall.SIGCONT) }

// wake lets a process that was told to end, and stands still, hear it.
func wake(process *os.Process) {
	_ = process.Signal(syscall.SIGCONT) // fails only if it has ended, which the lock tells
}
