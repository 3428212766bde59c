package sandbox

import (
	"bytes"
	"os"
	"strconv"
)

// paused says whether a process is stopped by a signal.
func paused(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// The state follows the program's name, which is in brackets and may hold anything.
	i := bytes.LastIndexByte(stat, ')')
	return i >= 0 && len(stat) > i+2 && stat[i+2] == 'T'
}
