package sandboxtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/home"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
)

// Sandbox is a running federation with a state directory and a kubeconfig of its own.
type Sandbox struct {
	// Manager changes it: stops it, adds cells, looks at its processes.
	Manager *sandbox.Manager
	// Name of the sandbox and of the context through the router.
	Name string
	// Kubeconfig is the file that holds its contexts.
	Kubeconfig string

	dir    string
	planes int // it was started with
}

// Up starts a federation with the given number of cells for this test.
func Up(t testing.TB, cells int) *Sandbox {
	t.Helper()
	f := NewFederation(cells)
	t.Cleanup(f.Close)
	return f.Sandbox(t)
}

// Federation is a sandbox that tests share. It is started by the first test that asks.
type Federation struct {
	cells int

	mu      sync.Mutex // guards what follows
	sandbox *Sandbox
	err     error
}

// NewFederation describes a federation and starts nothing.
func NewFederation(cells int) *Federation { return &Federation{cells: cells} }

// Sandbox starts the federation at the first call and returns it.
func (f *Federation) Sandbox(t testing.TB) *Sandbox {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sandbox == nil {
		f.sandbox = &Sandbox{}
		f.err = f.sandbox.start(f.cells)
	}
	if f.err != nil {
		t.Fatalf("start a sandbox of %d cells: %v", f.cells, f.err)
	}
	return f.sandbox
}

// Close ends the federation and removes its files. It may be called more than once.
func (f *Federation) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sandbox == nil || f.sandbox.dir == "" {
		return
	}
	if _, err := f.sandbox.Manager.Down(context.Background(), f.sandbox.Name); err != nil {
		fmt.Fprintf(os.Stderr, "stop sandbox: %v\n", err)
	}
	if err := os.RemoveAll(f.sandbox.dir); err != nil {
		fmt.Fprintf(os.Stderr, "remove sandbox: %v\n", err)
	}
}

func (s *Sandbox) start(cells int) error {
	s.planes = cells + 1
	var err error
	// Not the test's own directory: its path may be too long for a socket in it.
	if s.dir, err = os.MkdirTemp("", "kubecell-test-"); err != nil {
		return err
	}
	s.Name = sandbox.DefaultName
	s.Kubeconfig = filepath.Join(s.dir, "kubeconfig")
	if s.Manager, err = NewManager(filepath.Join(s.dir, "home")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	_, err = s.Manager.Up(ctx, sandbox.UpOptions{Name: s.Name, Cells: cells, KubeconfigFiles: []string{s.Kubeconfig}})
	return err
}

// NewManager returns a Manager with the binaries of this module, whose processes die with the test.
func NewManager(state string) (*sandbox.Manager, error) {
	plane, err := controlPlaneBinary()
	if err != nil {
		return nil, err
	}
	cell, err := cellBinary()
	if err != nil {
		return nil, err
	}
	env := map[string]string{sandbox.ControlPlaneEnv: plane, home.Env: state}
	return &sandbox.Manager{
		StateDir: state, Executable: cell, Clock: clock.RealClock{}, DieWithParent: true,
		Getenv: func(name string) string { return env[name] },
	}, nil
}

// Router is the access through the router, as an administrator.
func (s *Sandbox) Router(t testing.TB) *rest.Config {
	t.Helper()
	return s.config(t, s.Name)
}

// RCP is the access to the router control plane, as an administrator.
func (s *Sandbox) RCP(t testing.TB) *rest.Config {
	t.Helper()
	return s.config(t, s.Name+"-rcp")
}

// Cell is the direct access to a cell, as an administrator.
func (s *Sandbox) Cell(t testing.TB, name string) *rest.Config {
	t.Helper()
	return s.config(t, s.Name+"-"+name)
}

// Kill ends a control plane, "rcp" or that of a cell, as a power cut would. Its data stays.
func (s *Sandbox) Kill(t testing.TB, name string) {
	t.Helper()
	killed, err := daemon.Kill(t.Context(), filepath.Join(s.Dir(name), "lock"))
	if err != nil || !killed {
		t.Errorf("kill %s: killed %v, error %v", name, killed, err)
	}
}

// Start starts a control plane that was killed, at its old address, and returns when it is ready; one that runs is left
// alone. It may be called in any goroutine, and at the end of a test.
func (s *Sandbox) Start(t testing.TB, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), startPatience)
	defer cancel()
	binary, err := controlPlaneBinary()
	if err == nil {
		_, err = sandbox.ControlPlane{
			Name: name, Binary: binary, Dir: s.Dir(name), LogPath: filepath.Join(s.Dir("logs"), name+".log"),
			Processors: sandbox.Share(s.planes), DieWithParent: true,
		}.Start(ctx)
	}
	if err != nil {
		t.Errorf("start %s: %v", name, err)
	}
}

// Dir is where the sandbox keeps a part: "rcp", "router", "backup", "logs", or a cell by its name.
func (s *Sandbox) Dir(part string) string {
	return filepath.Join(s.Manager.StateDir, "sandboxes", s.Name, part)
}

// Status is what runs of the sandbox.
func (s *Sandbox) Status(t testing.TB) sandbox.Status {
	t.Helper()
	status, found, err := s.Manager.Status(s.Name)
	if err != nil || !found {
		t.Fatalf("status of sandbox %s: found %v, error %v", s.Name, found, err)
	}
	return status
}

func (s *Sandbox) config(t testing.TB, context string) *rest.Config {
	t.Helper()
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: s.Kubeconfig}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		t.Fatalf("context %s: %v", context, err)
	}
	config.QPS, config.Burst = -1, -1
	return config
}
