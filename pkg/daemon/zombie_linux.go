package daemon

import (
	"bytes"
	"fmt"
	"os"
)

// ended says whether pid is what is left of a process until its parent asks for the exit code: a zombie. Where nobody ever
// asks, as in a container whose first process does not care, it stays for good. See proc_pid_stat(5).
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The name of the program before it is in parentheses, and may have some itself.
	state := bytes.TrimLeft(stat[bytes.LastIndexByte(stat, ')')+1:], " ")
	return len(state) > 0 && (state[0] == 'Z' || state[0] == 'X')
}
