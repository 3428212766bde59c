package daemon

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// stillActive is what Windows gives for the exit code of a process that runs.
const stillActive = 259

// lockHandle returns false, without an error, where somebody else holds the lock. What Windows locks
// nobody else can read: it is one byte far behind the content, so that everybody can read who holds it.
func lockHandle(file *os.File, how mode) (bool, error) {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if how == exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	behind := &windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(file.Fd()), flags, 0, 1, 0, behind)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}

func alive(pid int) bool {
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return errors.Is(err, windows.ERROR_ACCESS_DENIED)
	}
	defer func() { _ = windows.CloseHandle(process) }() // nothing was changed by it
	var code uint32
	return windows.GetExitCodeProcess(process, &code) == nil && code == stillActive
}
