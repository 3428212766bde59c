package cli_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestCompletionThroughKubectl has kubectl itself complete `kubectl cell …`, with the file that `completion install`
// writes and the program on PATH: words, flags, and names that only the server knows. Of a server that accepts
// connections and never answers nothing is known but the last ring, and nobody waits for it.
func TestCompletionThroughKubectl(t *testing.T) {
	newBed(t)
	s := newShell(t, "cell", "cell")
	rcp := planes.Configs(t)[0]
	gate := sandboxtest.NewGate(t, rcp.Host)
	rcp.Host = gate.URL()
	s.write(t, "kubeconfig", sandboxtest.Kubeconfig(t, rcp))

	s.wants(t, []string{"dra"}, "drain")
	s.wants(t, []string{"router", "st"}, "start", "status", "stop")
	s.wants(t, []string{"get", "cells", "--out"}, "--output")
	s.wants(t, []string{"get", "cells", "-o", ""}, printers.Formats()...)
	s.wants(t, []string{"drain", ""}, "cell-1", "cell-2", "cell-3")
	s.wants(t, []string{"status", "--context", ""}, "it")
	s.wants(t, []string{"events", "-n", "kube-s"}, "kube-system")
	s.wants(t, []string{"nonsense", ""})
	s.wants(t, []string{"drain", "--nonsense", ""})

	s.run(t, "version") // which saves the ring
	gate.Hang()
	s.wants(t, []string{"drain", ""}, "cell-1", "cell-2", "cell-3")
	gate.Vanish()
	s.wants(t, []string{"drain", ""}, "cell-1", "cell-2", "cell-3")
}

// TestNobodyWaitsForAnAnswer: a server takes requests and holds each until whoever asked has gone, and no request has a limit of
// its own. The program gives up by itself, whatever it completes (its half a second: completion/within_test.go), offers what it
// knows without the server, and ends with 0.
func TestNobodyWaitsForAnAnswer(t *testing.T) {
	newBed(t)
	s := newShell(t, "cell", "cell")
	var holding atomic.Bool
	var held atomic.Int64
	hold := func(_ http.ResponseWriter, r *http.Request) (answered bool) {
		if !holding.Load() {
			return false
		}
		held.Add(1)
		<-r.Context().Done()
		return true
	}
	s.write(t, "kubeconfig", sandboxtest.Kubeconfig(t, sandboxtest.Proxy(t, planes.Configs(t)[0], hold)))
	s.run(t, "version") // which saves the ring
	holding.Store(true)
	cells := []string{"cell-1", "cell-2", "cell-3"}
	for _, test := range []struct{ words, want []string }{
		{[]string{"drain", ""}, cells},
		{[]string{"status", ""}, cells},
		{[]string{"simulate", "--drain", ""}, cells},
		{[]string{"events", "-n", ""}, nil},
		{[]string{"where", ""}, nil},
		{[]string{"rebalance", "status", ""}, nil},
		{[]string{"router", "forget", ""}, nil},
	} {
		t.Run(strings.Join(test.words, " "), func(t *testing.T) {
			before := held.Load()
			for range 10 { // a busy machine may have no time to ask in
				out, err := s.complete(t, test.words)
				if got := completionsIn(out); err != nil || !slices.Equal(got, test.want) {
					t.Fatalf("completed by %q, %v; want %q", got, err, test.want)
				}
				if held.Load() > before {
					return
				}
			}
			t.Error("the server was never asked")
		})
	}
}

// complete runs what kubectl runs to complete the last of the words. It is killed when nobody would believe any more that it ends.
func (s *shell) complete(t *testing.T, words []string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, "kubectl_complete-cell"), append([]string{"--request-timeout=1h"}, words...)...)
	cmd.Env = s.environ
	out, err := cmd.Output()
	return string(out), err
}

// TestCompletionUnderAnotherName, as an index of plugins may install it.
func TestCompletionUnderAnotherName(t *testing.T) {
	s := newShell(t, "kube-cell", "kube_cell")
	s.wants(t, []string{"dra"}, "drain")
	s.wants(t, []string{"router", "st"}, "start", "status", "stop")
	// Some links the program itself by the name of that file.
	if err := os.Remove(filepath.Join(s.dir, "kubectl_complete-kube_cell")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("kubectl-kube_cell", filepath.Join(s.dir, "kubectl_complete-kube_cell")); err != nil {
		t.Fatal(err)
	}
	s.wants(t, []string{"dra"}, "drain")
}

// shell is a PATH and a home with the plugin as it is installed.
type shell struct {
	name    string
	dir     string
	environ []string
}

// newShell has it typed as kubectl NAME, which is the file kubectl-FILE, and its completion installed by itself.
func newShell(t *testing.T, name, file string) *shell {
	t.Helper()
	_, binary, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{name: name, dir: t.TempDir()}
	s.environ = append(os.Environ(), "PATH="+s.dir+":"+os.Getenv("PATH"), "HOME="+s.dir, "KUBECTL_CELL_HOME="+filepath.Join(s.dir, "state"),
		"KUBECONFIG="+filepath.Join(s.dir, "kubeconfig"))
	if err := os.Symlink(binary, filepath.Join(s.dir, "kubectl-"+file)); err != nil {
		t.Fatal(err)
	}
	s.run(t, "completion", "install")
	return s
}

func (s *shell) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o700); err != nil {
		t.Fatal(err)
	}
}

// run runs kubectl, which has to succeed, and returns what it printed.
func (s *shell) run(t *testing.T, args ...string) string {
	t.Helper()
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(kubectl, append([]string{s.name}, args...)...)
	if args[0] == "__complete" {
		cmd.Args = append([]string{kubectl, "__complete", s.name}, args[1:]...)
	}
	cmd.Env = s.environ
	out, err := cmd.Output()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		t.Fatalf("%s: %v: %s%s", strings.Join(cmd.Args[1:], " "), err, out, ended.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// wants has kubectl complete the last of the words, and wants these completions alone. It asks again while the server takes
// longer than somebody waits at a terminal.
func (s *shell) wants(t *testing.T, words []string, want ...string) {
	t.Helper()
	var got []string
	for range 10 {
		if got = s.completions(t, words); slices.Equal(got, want) {
			return
		}
	}
	t.Errorf("kubectl %s %q is completed by %q; want %q", s.name, words, got, want)
}

func (s *shell) completions(t *testing.T, words []string) []string {
	t.Helper()
	return completionsIn(s.run(t, append([]string{"__complete"}, words...)...))
}

// completionsIn are the words of what was printed.
func completionsIn(printed string) (got []string) {
	for line := range strings.Lines(printed) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if !strings.HasPrefix(name, ":") { // the directive
			got = append(got, name)
		}
	}
	return got
}
