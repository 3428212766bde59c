package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// patience bounds every wait. It is long because machines that run tests are busy.
const patience = 90 * time.Second

// plane is a started process of the binary.
type plane struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	stderr *buffer
	ready  chan string   // yields the address once
	ended  chan struct{} // closed when the process has ended
}

// tempDir is short, unlike t.TempDir, so that the socket lies in the control plane's own directory.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cp-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// launch starts "run" on the directory without waiting for anything.
func launch(t *testing.T, dir string, args ...string) *plane {
	t.Helper()
	p := &plane{
		t: t, dir: dir, stderr: &buffer{},
		cmd:   exec.Command(os.Getenv(binaryVariable), append([]string{"run", "--dir", dir, "--name", "test"}, args...)...),
		ready: make(chan string, 1), ended: make(chan struct{}),
	}
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if address, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				p.ready <- address
			}
		}
		_ = p.cmd.Wait() // the state is read from ProcessState
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		p.awaitEnd()
	})
	return p
}

// start launches and waits until the control plane is ready.
func start(t *testing.T, dir string, args ...string) *plane {
	t.Helper()
	p := launch(t, dir, args...)
	p.awaitReady()
	return p
}

func (p *plane) awaitReady() string {
	p.t.Helper()
	select {
	case address := <-p.ready:
		return address
	case <-p.ended:
		p.t.Fatalf("ended before it was ready:\n%s", p.stderr)
	case <-time.After(patience):
		p.t.Fatalf("not ready in time:\n%s", p.stderr)
	}
	return ""
}

func (p *plane) pid() int { return p.cmd.Process.Pid }

func (p *plane) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// awaitEnd returns the exit code, or -1 when a signal ended the process.
func (p *plane) awaitEnd() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("did not end in time:\n%s", p.stderr)
		return 0
	}
}

func (p *plane) config() *rest.Config {
	p.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(p.dir, "kubeconfig", "admin.conf"))
	if err != nil {
		p.t.Fatal(err)
	}
	config.QPS, config.Burst = 1000, 1000
	return config
}

func (p *plane) client() kubernetes.Interface {
	p.t.Helper()
	return kubernetes.NewForConfigOrDie(p.config())
}

// child is the pid of the controllers' process.
func (p *plane) child() int {
	p.t.Helper()
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		p.t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 2 && fields[1] == strconv.Itoa(p.pid()) {
			pid, err := strconv.Atoi(fields[0])
			if err != nil {
				p.t.Fatal(err)
			}
			return pid
		}
	}
	p.t.Fatal("there is no child process")
	return 0
}

// alive tells whether a process runs. One that waits to be reaped does not.
func alive(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	state := strings.TrimSpace(string(out))
	return err == nil && state != "" && !strings.HasPrefix(state, "Z")
}

// eventually asks until there is no error.
func eventually(t *testing.T, what string, probe func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not in time: %v", what, err)
		}
	}
}

func gone(pid int) func(context.Context) error {
	return func(context.Context) error {
		if alive(pid) {
			return errors.New("it still runs")
		}
		return nil
	}
}

// buffer collects output that a process writes while a test reads it.
type buffer struct {
	mu   sync.Mutex // guards data
	data bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}
