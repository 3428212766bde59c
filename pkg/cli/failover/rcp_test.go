package failover_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

// TestWithoutTheRCP, gone or hung: the command says soon what the router still knows of the cell and what goes on, changes
// nothing, and the command that it hints at works once the RCP is back.
func TestWithoutTheRCP(t *testing.T) {
	s := federation.Sandbox(t)
	lock := filepath.Join(s.Dir("rcp"), "lock")
	ring := ringOf(t, s)
	if _, err := s.Manager.Chaos(t.Context(), s.Name, "cell-2", sandbox.Kill); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Start(t, "cell-2") })
	for _, fault := range []struct {
		name       string
		begin, end func(t *testing.T)
	}{
		{"gone", func(t *testing.T) { s.Kill(t, "rcp") }, func(t *testing.T) { s.Start(t, "rcp") }},
		{"hung", func(t *testing.T) { holder(t, lock, daemon.Suspend) }, func(t *testing.T) { holder(t, lock, daemon.Resume) }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Cleanup(func() { fault.end(t) })
			fault.begin(t)
			saysWithout := func(context string, words ...string) {
				began := time.Now()
				cell := words[0]
				stdout, stderr, code := run(t, s, cell, "--context", context, "--dry-run", "-o", "json")
				if took := time.Since(began); code != exit.Failure || stdout != "" || took > command.AnswerWithin+15*time.Second {
					t.Errorf("%s by %s: exit code %d after %s: %s", cell, context, code, took, stdout)
				}
				want(t, stderr, append(words, "error: cell "+cell+" cannot be failed over", "router control plane does not answer", "nothing was changed",
					"  hint: bring the router control plane back, see docs/runbooks/rcp.md; then: kubectl cell failover "+cell+" --dry-run",
					"other cells: served as before", "copies: they stay in their cells")...)
			}
			saysWithout(s.Name, "cell-2", "it does not answer the router either: requests for its workloads get 503")
			saysWithout(s.Name, "cell-3", "it answers the router, and its workloads are served: there is nothing to fail over")
			saysWithout(s.Name, "cell-9", "the router knows of no such cell")
			saysWithout(s.Name+"-rcp", "cell-2", "ask a router whether it answers")
			_, stderr, code := failback(t, s, "cell-2", "--yes")
			if code != exit.Failure {
				t.Errorf("failback: exit code %d", code)
			}
			want(t, stderr, "the router control plane does not answer", "nothing was begun", "hint: bring it back first: docs/runbooks/rcp.md")
		})
	}
	if now := ringOf(t, s); now.Status.Epoch != ring.Status.Epoch || now.Generation != ring.Generation {
		t.Errorf("the ring was in epoch %d, and is in %d", ring.Status.Epoch, now.Status.Epoch)
	}
	for {
		stdout, stderr, code := run(t, s, "cell-2", "--dry-run")
		if strings.Contains(stderr, "the router control plane does not answer") && t.Context().Err() == nil {
			continue // the router looks once a second whether it is back
		}
		if code != exit.Refused || !strings.Contains(stdout, "cell-2: ") || !strings.Contains(stderr, "nobody has confirmed it") {
			t.Errorf("with the RCP back: exit code %d\n%s%s", code, stdout, stderr)
		}
		return
	}
}

// holder does something to the process that holds a lock.
func holder(t *testing.T, lock string, do func(lock string) (bool, error)) {
	t.Helper()
	if done, err := do(lock); err != nil || !done {
		t.Errorf("the holder of %s: done %v, error %v", lock, done, err)
	}
}
