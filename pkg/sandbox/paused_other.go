//go:build !linux

package sandbox

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// paused says whether a process is stopped by a signal.
func paused(pid int) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	state, err := exec.CommandContext(ctx, "ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.HasPrefix(strings.TrimSpace(string(state)), "T")
}
