//go:build unix && !linux

package daemon

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// ended says whether pid is only what is left of a process, where that is known: not here.
func ended(int) bool { return false }

// Suspended says whether a process is stopped by a signal, as by [Suspend].
func Suspended(pid int) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	state, err := exec.CommandContext(ctx, "ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.HasPrefix(strings.TrimSpace(string(state)), "T")
}
