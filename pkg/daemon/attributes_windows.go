package daemon

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// attributes take the process off the console: Ctrl-C and the closing of the window do not reach it. The
// kernel cannot be asked to end it with its parent here.
func attributes(bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.DETACHED_PROCESS}
}
