package daemon_test

import (
	"os/exec"
	"testing"
	"time"

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
	for began := time.Now(); daemon.Alive(cat.Process.Pid); time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("a process that has ended counts as alive")
		}
	}
	if err := cat.Wait(); err != nil { // it was there until now
		t.Error(err)
	}
}
