package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// federation is the sandbox of all tests that leave it as they have found it.
var federation = sandboxtest.NewFederation(2)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, federation)) }

// bed is a state directory and a kubeconfig without a sandbox.
type bed struct {
	*sandbox.Manager
	kubeconfig string
}

func newBed(t *testing.T) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("", "kubecell-test-")
	if err != nil {
		t.Fatal(err)
	}
	m, err := sandboxtest.NewManager(filepath.Join(dir, "home"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		names, err := m.Names()
		if err != nil {
			t.Error(err)
		}
		for _, name := range names {
			if _, err := m.Down(context.Background(), name); err != nil {
				t.Error(err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return &bed{Manager: m, kubeconfig: filepath.Join(dir, "kubeconfig")}
}

func (b *bed) options(cells int) sandbox.UpOptions {
	return sandbox.UpOptions{Cells: cells, KubeconfigFiles: []string{b.kubeconfig}}
}

// nothingLeft fails the test when a sandbox has left anything behind.
func (b *bed) nothingLeft(t *testing.T, pids ...int) {
	t.Helper()
	if entries, err := os.ReadDir(b.StateDir); err == nil {
		t.Errorf("state directory is left: %v", entries)
	}
	if data, err := os.ReadFile(b.kubeconfig); err == nil {
		t.Errorf("kubeconfig is left:\n%s", data)
	}
	for _, pid := range pids {
		awaitGone(t, pid)
	}
}

// pids of everything that runs of a sandbox.
func pids(s sandbox.Status) []int {
	var out []int
	for _, part := range append([]sandbox.Part{s.RCP, s.Router}, s.Cells...) {
		if part.Up {
			out = append(out, part.PID)
		}
	}
	return out
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	await(t, "the end of a process", func(context.Context) (bool, error) {
		return syscall.Kill(pid, 0) != nil, nil
	})
}

func await(t *testing.T, what string, condition wait.ConditionWithContextFunc) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, condition); err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
}

func kill(t *testing.T, part sandbox.Part) {
	t.Helper()
	if err := syscall.Kill(part.PID, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %s: %v", part.Name, err)
	}
	lock := filepath.Join(filepath.Dir(filepath.Dir(part.Log)), part.Name, "lock")
	await(t, "the lock of "+part.Name, func(context.Context) (bool, error) {
		_, held, err := daemon.Inspect(lock)
		return !held, err
	})
}

func kube(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// putNamespace stores something in a control plane that must survive.
func putNamespace(t *testing.T, config *rest.Config, name string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := kube(t, config).CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}
