package daemon

import (
	"errors"
	"fmt"
	"os"
)

// Suspend would have the daemon that holds the lock stand still; Windows has no way to.
func Suspend(string) (bool, error) {
	return false, fmt.Errorf("suspend a process: %w", errors.ErrUnsupported)
}

// Resume does nothing: nothing can have been suspended.
func Resume(string) (bool, error) { return false, nil }

// Suspended is false of every process, for the same reason.
func Suspended(int) bool { return false }

func wake(*os.Process) {}
