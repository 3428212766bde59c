package sandbox_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

func TestUpServesThroughTheRouter(t *testing.T) {
	s := federation.Sandbox(t)
	_, err := kube(t, s.Router(t)).AppsV1().Deployments("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	status := s.Status(t)
	if status.State != sandbox.Up || status.CellsUp != 2 {
		t.Errorf("state is %s with %d cells up, want Up with 2", status.State, status.CellsUp)
	}
	for _, path := range []string{s.Manager.StateDir, filepath.Dir(status.RCP.Log)} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %o, want 700", path, info.Mode().Perm())
		}
	}
}

func TestUpTwiceChangesNothing(t *testing.T) {
	s := federation.Sandbox(t)
	before := s.Status(t)
	after, err := s.Manager.Up(t.Context(), sandbox.UpOptions{Name: s.Name})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("second up changed the sandbox (-before +after):\n%s", diff)
	}
}

func TestUpWithAnotherNumberOfCellsIsRefused(t *testing.T) {
	s := federation.Sandbox(t)
	_, err := s.Manager.Up(t.Context(), sandbox.UpOptions{Name: s.Name, Cells: 5})
	if exit.CodeOf(err) != exit.Refused {
		t.Errorf("up with 5 cells: %v, want a refusal", err)
	}
	if got := s.Status(t).State; got != sandbox.Up {
		t.Errorf("state is %s afterwards, want Up", got)
	}
}

// Whatever is killed, the next up goes on with the data.
func TestUpResumes(t *testing.T) {
	s := federation.Sandbox(t)
	for _, test := range []struct {
		name string
		part func(sandbox.Status) sandbox.Part
	}{
		{"cell", func(s sandbox.Status) sandbox.Part { return s.Cells[1] }},
		{"router", func(s sandbox.Status) sandbox.Part { return s.Router }},
		{"backup", func(s sandbox.Status) sandbox.Part { return s.Backup }},
		{"rcp", func(s sandbox.Status) sandbox.Part { return s.RCP }},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := "kept-" + test.name
			putNamespace(t, s.RCP(t), name)
			putNamespace(t, s.Cell(t, "cell-2"), name)
			before := s.Status(t)
			kill(t, test.part(before))
			if got := s.Status(t).State; got != sandbox.Degraded {
				t.Errorf("state after the kill is %s, want Degraded", got)
			}
			after, err := s.Manager.Up(t.Context(), sandbox.UpOptions{Name: s.Name})
			if err != nil {
				t.Fatal(err)
			}
			if after.State != sandbox.Up {
				t.Errorf("state after up is %s, want Up", after.State)
			}
			if got, want := test.part(after).Address, test.part(before).Address; got != want {
				t.Errorf("address is %s, was %s", got, want)
			}
			for _, config := range []string{"rcp", "cell-2"} {
				_, err := kube(t, s.Cell(t, config)).CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
				if err != nil {
					t.Errorf("data of %s: %v", config, err)
				}
			}
		})
	}
}

// The lock says who is at work; the second one is told and changes nothing.
func TestConcurrentUpsOfOneSandbox(t *testing.T) {
	s := federation.Sandbox(t)
	began, proceed := make(chan struct{}), make(chan struct{})
	first, err := sandboxtest.NewManager(s.Manager.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	first.Progress = func(sandbox.Event) { once.Do(func() { close(began); <-proceed }) }
	done := make(chan error, 1)
	go func() {
		_, err := first.Up(t.Context(), sandbox.UpOptions{Name: s.Name})
		done <- err
	}()
	<-began
	_, err = s.Manager.Up(t.Context(), sandbox.UpOptions{Name: s.Name})
	if exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), "being changed by another command") {
		t.Errorf("second up: %v, want to be told of the first", err)
	}
	close(proceed)
	if err := <-done; err != nil {
		t.Errorf("first up: %v", err)
	}
}

// A first up that fails leaves nothing, however far it has come.
func TestFailedFirstUpLeavesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, b *bed, o *sandbox.UpOptions)
		want  string
	}{
		{"port taken", func(_ *testing.T, _ *bed, o *sandbox.UpOptions) { o.Port = port }, "is in use by another program"},
		{"disk full", func(_ *testing.T, b *bed, _ *sandbox.UpOptions) {
			b.FreeSpace = func(string) (uint64, error) { return 1 << 20, nil }
		}, "1 MiB free"},
		{"no such binary", func(_ *testing.T, b *bed, _ *sandbox.UpOptions) {
			b.Getenv = func(string) string { return "" }
			b.Executable = filepath.Join(filepath.Dir(b.kubeconfig), "kubectl-cell")
		}, "program cell-controlplane not found"},
		{"control plane that fails", func(t *testing.T, b *bed, _ *sandbox.UpOptions) {
			b.Getenv = script(t, b, "echo 'error: no mood today' >&2; exit 1")
		}, "no mood today"},
		{"control plane that ends", func(t *testing.T, b *bed, _ *sandbox.UpOptions) {
			b.Getenv = script(t, b, "exit 0")
		}, "exit status 0"},
		{"kubeconfig of others", func(t *testing.T, b *bed, o *sandbox.UpOptions) {
			other := filepath.Join(filepath.Dir(b.kubeconfig), "others")
			write(t, other, `{"kind":"Config","apiVersion":"v1","contexts":[{"name":"cell-sandbox-rcp","context":{"cluster":"a","user":"a"}}]}`)
			o.KubeconfigFiles = []string{other}
		}, "which is not this sandbox's"},
		{"damaged kubeconfig", func(t *testing.T, b *bed, o *sandbox.UpOptions) {
			other := filepath.Join(filepath.Dir(b.kubeconfig), "others")
			write(t, other, "{nonsense")
			o.KubeconfigFiles = []string{other}
		}, "read kubeconfig"},
		{"name", func(_ *testing.T, _ *bed, o *sandbox.UpOptions) { o.Name = "Not_A_Label" }, "not a DNS label"},
		{"too many cells", func(_ *testing.T, _ *bed, o *sandbox.UpOptions) { o.Cells = 1000 }, "it must be 1 to 64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBed(t)
			o := b.options(1)
			test.spoil(t, b, &o)
			_, err := b.Up(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("up: %v, want %q", err, test.want)
			}
			requireHint(t, err)
			b.nothingLeft(t)
		})
	}
}

// A state directory that cannot be made: a file is in the way, which stops root, too.
func TestUnusableStateDirectory(t *testing.T) {
	b := newBed(t)
	file := filepath.Join(filepath.Dir(b.kubeconfig), "file")
	write(t, file, "")
	b.StateDir = filepath.Join(file, "home")
	_, err := b.Up(t.Context(), b.options(1))
	if err == nil || !strings.Contains(err.Error(), "cannot be used") {
		t.Errorf("up: %v, want to be told that the directory cannot be used", err)
	}
	requireHint(t, err)
}

// Ctrl-C in the middle of the first up: all is taken back.
func TestInterruptedUpLeavesNothing(t *testing.T) {
	b := newBed(t)
	ctx, interrupt := context.WithCancel(t.Context())
	b.Progress = func(e sandbox.Event) {
		if e.Step == "federation" {
			interrupt()
		}
	}
	_, err := b.Up(ctx, b.options(1))
	if exit.CodeOf(err) != exit.Detached {
		t.Errorf("interrupted up: %v, want exit code 130", err)
	}
	b.nothingLeft(t)
}

func requireHint(t *testing.T, err error) {
	t.Helper()
	var b strings.Builder
	exit.Report(&b, exit.Plugin, err)
	if !strings.Contains(b.String(), "hint: ") {
		t.Errorf("error has no hint: %s", b.String())
	}
}

// script makes a program that stands in for a control plane, and the environment that names it.
func script(t *testing.T, b *bed, body string) func(string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(b.kubeconfig), "script")
	write(t, path, "#!/bin/sh\n"+body+"\n")
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return func(name string) string {
		if name == sandbox.ControlPlaneEnv {
			return path
		}
		return ""
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
