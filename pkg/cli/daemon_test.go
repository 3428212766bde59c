package cli_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// What a service manager sees of a daemon: ready, a reload that ends nothing, stopping, and exit code 0. Nobody
// else restarts the daemon under its hands.
func TestDaemonUnderAServiceManager(t *testing.T) {
	_, cell, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "kubecell-test-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	kubeconfig, log := filepath.Join(dir, "rcp"), filepath.Join(dir, "daemon.log")
	if err := os.WriteFile(kubeconfig, sandboxtest.Kubeconfig(t, planes.Configs(t)[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	manager, err := net.ListenPacket("unixgram", filepath.Join(dir, "notify"))
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if err := manager.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	flags := []string{"--state-dir", state, "--rcp-kubeconfig", kubeconfig}
	managed := exec.Command(cell, append(flags, "backup", "run", "--listen", "127.0.0.1:0", "--log-file", log)...)
	managed.Env = append(os.Environ(), "NOTIFY_SOCKET="+manager.LocalAddr().String())
	managed.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	managed.Stdout, managed.Stderr = &said, &said
	if err := managed.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = managed.Process.Kill() }()
	requireNotice(t, manager, "READY=1", &said)

	out, err := exec.Command(cell, append(flags, "backup", "restart")...).CombinedOutput()
	if code := exitCode(err); code != 4 || !strings.Contains(string(out), "was started by systemd") {
		t.Errorf("restart under a service manager: exit code %d, %s", code, out)
	}
	if err := os.Rename(log, log+".by-others"); err != nil {
		t.Fatal(err)
	}
	if err := managed.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := os.Stat(log); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("SIGHUP did not open the log anew")
		}
	}
	if err := managed.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	requireNotice(t, manager, "STOPPING=1", &said)
	if err := managed.Wait(); err != nil || !strings.HasPrefix(said.String(), "ready http://127.0.0.1:") {
		t.Errorf("it ended with %v and said %s", err, &said)
	}
}

func requireNotice(t *testing.T, manager net.PacketConn, want string, said *bytes.Buffer) {
	t.Helper()
	notice := make([]byte, 64)
	n, _, err := manager.ReadFrom(notice)
	if err != nil {
		t.Fatalf("waiting for %s: %v", want, err)
	}
	if got := string(notice[:n]); got != want {
		t.Fatalf("the service manager was told %q, want %q; %s", got, want, said)
	}
}

func exitCode(err error) int {
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode()
	}
	return 0
}
