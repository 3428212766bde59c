package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// crashEnv makes this test binary a command that kills itself: "<up|down> <step> <home> <kubeconfig>".
const crashEnv = "SANDBOX_TEST_CRASH"

func TestMain(m *testing.M) {
	if order := os.Getenv(crashEnv); order != "" {
		os.Exit(crash(strings.Fields(order)))
	}
	os.Exit(sandboxtest.Main(m, federation))
}

// crash is an up or a down that ends like by kill -9 when the step begins. It returns only if the step
// never begins.
func crash(order []string) int {
	m, err := sandboxtest.NewManager(order[2])
	if err != nil {
		return 2
	}
	m.DieWithParent = false
	m.Progress = func(e sandbox.Event) {
		if strings.ReplaceAll(e.Step, " ", "-") == order[1] {
			_ = signal(os.Getpid(), os.Kill)
		}
	}
	if order[0] == "up" {
		_, err = m.Up(context.Background(), sandbox.UpOptions{Cells: 1, KubeconfigFiles: []string{order[3]}})
	} else {
		_, err = m.Down(context.Background(), sandbox.DefaultName)
	}
	fmt.Fprintln(os.Stderr, "not killed:", err)
	return 1
}

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

// crash has another process run the operation on the bed and die when the step begins.
func (b *bed) crash(t *testing.T, operation, step string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+strings.Join([]string{operation, step, b.StateDir, b.kubeconfig}, " "))
	out, err := cmd.CombinedOutput()
	if exited, ok := errors.AsType[*exec.ExitError](err); !ok || exited.ExitCode() != -1 {
		t.Fatalf("%s did not crash at %s: %v\n%s", operation, step, err, out)
	}
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
	for _, part := range append([]sandbox.Part{s.RCP, s.Router, s.Backup}, s.Cells...) {
		if part.Up {
			out = append(out, part.PID)
		}
	}
	return out
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	await(t, "the end of a process", func(context.Context) (bool, error) {
		return signal(pid, syscall.Signal(0)) != nil, nil
	})
}

func await(t *testing.T, what string, condition wait.ConditionWithContextFunc) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, condition); err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
}

// signal is syscall.Kill, which does not compile on Windows. Signal 0 asks whether the process is there.
func signal(pid int, s os.Signal) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return process.Signal(s)
}

func kill(t *testing.T, part sandbox.Part) {
	t.Helper()
	if err := signal(part.PID, os.Kill); err != nil {
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
