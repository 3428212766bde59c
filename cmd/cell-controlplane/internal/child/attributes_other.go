//go:build !linux

package child

import "syscall"

// attributes put the child into a process group of its own, so that Ctrl-C reaches only the parent,
// which ends both in order.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
