package daemon

import (
	"fmt"
	"os"
	"strings"
)

// ProgramOf is the name of the program that runs as pid, or "" where that is not known.
func ProgramOf(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}
