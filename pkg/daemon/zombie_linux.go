package daemon

import (
	"bytes"
	"fmt"
	"os"
)

// Fields of /proc/PID/stat behind the name of the program, which is in parentheses and may have some itself. See
// proc_pid_stat(5).
const (
	statState   = 0
	statThreads = 17
)

// ended says whether pid is what is left of a process until its parent asks for the exit code: a zombie. Where nobody ever
// asks, as in a container whose first process does not care, it stays for good. While threads of it have yet to end its files
// may still be open.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= statThreads {
		return false
	}
	state, threads := string(fields[statState]), string(fields[statThreads])
	return (state == "Z" || state == "X") && (threads == "0" || threads == "1")
}
