package cli_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// What a service manager sees of a daemon: ready, a reload that ends nothing, stopping, and exit code 0. Nobody
// else restarts the daemon under its hands.
func TestDaemonsUnderAServiceManager(t *testing.T) {
	b := newBed(t)
	port, err := sandboxtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := socketDir(t)
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, b.ca, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		// flags are those that it needs, own those that only this test has.
		flags, own []string
		ready      string
	}{
		"backup": {nil, []string{"--listen", "127.0.0.1:0"}, "ready http://127.0.0.1:"},
		"router": {
			[]string{"--client-ca-file", ca},
			[]string{"--bind-address", "127.0.0.1", "--secure-port", port, "--admin-listen", "127.0.0.1:0"}, "ready https://127.0.0.1:" + port + "\n",
		},
	} {
		t.Run(name, func(t *testing.T) { underAServiceManager(t, b, name, test.flags, test.own, test.ready) })
	}
}

func underAServiceManager(t *testing.T, b *bed, name string, flags, own []string, ready string) {
	_, cell, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir := socketDir(t)
	kubeconfig, log := filepath.Join(dir, "rcp"), filepath.Join(dir, "daemon.log")
	if err := os.WriteFile(kubeconfig, b.kubeconfig, 0o600); err != nil {
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
	flags = append([]string{"--state-dir", filepath.Join(dir, "state"), "--rcp-kubeconfig", kubeconfig}, flags...)
	managed := exec.Command(cell, slices.Concat([]string{name, "run", "--log-file", log}, flags, own)...)
	managed.Env = append(os.Environ(), "NOTIFY_SOCKET="+manager.LocalAddr().String())
	managed.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	managed.Stdout, managed.Stderr = &said, &said
	if err := managed.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = managed.Process.Kill() }()
	requireNotice(t, manager, "READY=1", &said)

	out, err := exec.Command(cell, append([]string{name, "restart"}, flags...)...).CombinedOutput()
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
	if err := managed.Wait(); err != nil || !strings.HasPrefix(said.String(), ready) {
		t.Errorf("it ended with %v and said %s", err, &said)
	}
}

// socketDir is a folder for a socket, whose path must be short.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kubecell-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Of several that start one daemon at the same instant one starts it, and the others find it running.
func TestStartsAtTheSameInstant(t *testing.T) {
	p := newPerson(t, newBed(t))
	_, cell, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	const starts = 3
	var said [starts]string
	var all sync.WaitGroup
	for i := range starts {
		all.Go(func() {
			cmd := exec.Command(cell, "backup", "start", "--rcp-kubeconfig", strings.TrimPrefix(p.environ[3], "KUBECONFIG="), "--listen", "127.0.0.1:0")
			cmd.Env = append(os.Environ(), p.environ...)
			out, err := cmd.Output()
			said[i] = strings.TrimSpace(string(out))
			if err != nil {
				t.Errorf("start: %v\n%s", err, out)
			}
		})
	}
	all.Wait()
	started := map[bool]int{}
	addresses := map[string]bool{}
	for _, text := range said {
		first, address, _ := strings.Cut(text, ": ")
		started[first == "backup daemon started"]++
		addresses[address] = true
		if first != "backup daemon started" && first != "backup daemon already running" {
			t.Errorf("it says %q", text)
		}
	}
	if started[true] != 1 || len(addresses) != 1 {
		t.Errorf("%d have started one, of %d daemons: %q", started[true], len(addresses), said)
	}
	p.must(t, "backup", "stop")
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
