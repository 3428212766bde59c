package daemon_test

import (
	"context"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
)

// TestAZombieIsNotAlive has a process end whose exit code nobody has asked for.
func TestAZombieIsNotAlive(t *testing.T) {
	cat := exec.CommandContext(t.Context(), "cat")
	in, err := cat.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	if !daemon.Alive(cat.Process.Pid) {
		t.Error("a process that runs is not alive")
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	ended := func(context.Context) (bool, error) { return !daemon.Alive(cat.Process.Pid), nil }
	if err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, time.Minute, true, ended); err != nil {
		t.Fatal("a process that has ended counts as alive")
	}
	if err := cat.Wait(); err != nil { // it was there until now
		t.Error(err)
	}
}

// TestSuspended stops a process and lets it go on.
func TestSuspended(t *testing.T) {
	cat := exec.CommandContext(t.Context(), "cat")
	if _, err := cat.StdinPipe(); err != nil { // which it waits at
		t.Fatal(err)
	}
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		signal    syscall.Signal
		await     int
		suspended bool
	}{{syscall.SIGSTOP, syscall.WUNTRACED, true}, {syscall.SIGCONT, syscall.WCONTINUED, false}} {
		if err := cat.Process.Signal(test.signal); err != nil {
			t.Fatal(err)
		}
		if _, err := syscall.Wait4(cat.Process.Pid, nil, test.await, nil); err != nil {
			t.Fatal(err)
		}
		if got := daemon.Suspended(cat.Process.Pid); got != test.suspended {
			t.Errorf("after %v: suspended %v", test.signal, got)
		}
	}
	if err := cat.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cat.Wait() // says that it was killed
	if daemon.Suspended(cat.Process.Pid) {
		t.Error("a process that is no more is suspended")
	}
}
