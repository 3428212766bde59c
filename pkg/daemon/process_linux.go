package daemon

import (
	"bytes"
	"fmt"
	"os"
)

// Fields of /proc/PID/stat behind the name of the program. See proc_pid_stat(5).
const (
	statState   = 0
	statThreads = 17
)

// stat returns state and number of threads of a process, "" where there is none.
func stat(pid int) (state, threads string) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", ""
	}
	// The name is in parentheses, and may have some itself.
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(fields) <= statThreads {
		return "", ""
	}
	return string(fields[statState]), string(fields[statThreads])
}

// ended says whether pid is what is left of a process until its parent asks for the exit code: a zombie. Where nobody ever
// asks, as in a container whose first process does not care, it stays for good. While threads of it have yet to end its files
// may still be open.
func ended(pid int) bool {
	state, threads := stat(pid)
	return (state == "Z" || state == "X") && (threads == "0" || threads == "1")
}

// Suspended says whether a process is stopped by a signal, as by [Suspend].
func Suspended(pid int) bool {
	state, _ := stat(pid)
	return state == "T"
}
