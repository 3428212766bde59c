package daemon_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
)

func TestNotify(t *testing.T) {
	// Not the test's own directory: its path may be too long for a socket in it.
	dir, err := os.MkdirTemp("", "notify-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, socket := range []string{filepath.Join(dir, "s"), "@" + filepath.Base(dir)} {
		manager, err := net.ListenPacket("unixgram", socket)
		if err != nil {
			t.Fatal(err)
		}
		if err := daemon.Notify(t.Context(), socket, daemon.NotifyReady); err != nil {
			t.Fatal(err)
		}
		said := make([]byte, 64)
		n, _, err := manager.ReadFrom(said)
		if err != nil || string(said[:n]) != "READY=1" {
			t.Errorf("at %s was said %q, %v", socket, said[:n], err)
		}
		manager.Close()
		if err := daemon.Notify(t.Context(), socket, daemon.NotifyReady); err == nil {
			t.Errorf("nobody listens at %s, and that is no error", socket)
		}
	}
	if err := daemon.Notify(t.Context(), "", daemon.NotifyReady); err != nil {
		t.Errorf("nobody to tell: %v", err)
	}
}
