//go:build unix

package daemon

import (
	"errors"
	"os"
	"syscall"
)

// lockHandle returns false, without an error, where somebody else holds the lock.
func lockHandle(file *os.File, how mode) (bool, error) {
	flags := syscall.LOCK_EX
	if how == shared {
		flags = syscall.LOCK_SH
	}
	err := syscall.Flock(int(file.Fd()), flags|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return (err == nil || errors.Is(err, syscall.EPERM)) && !ended(pid)
}
