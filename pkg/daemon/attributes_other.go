//go:build unix && !linux

package daemon

import "syscall"

// attributes put the process into a session of its own: it has no terminal, and Ctrl-C and the end
// of the terminal do not reach it. The kernel cannot be asked to end it with its parent here.
func attributes(bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true}
}
