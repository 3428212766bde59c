package child

import "syscall"

// attributes put the child into a process group of its own, so that Ctrl-C reaches only the parent,
// which ends both in order, and have the kernel kill it with its parent.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
