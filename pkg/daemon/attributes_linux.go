package daemon

import "syscall"

// attributes put the process into a session of its own: it has no terminal, and Ctrl-C and the end
// of the terminal do not reach it.
func attributes(dieWithParent bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if dieWithParent {
		attr.Pdeathsig = syscall.SIGKILL
	}
	return attr
}
