package rebalance_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// federation is that of all tests: two cells, a router and a backup daemon, each a process of its own.
var federation = sandboxtest.NewFederation(2)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, federation)) }

const (
	patience  = 2 * time.Minute
	namespace = "shop"
	// items are ConfigMaps, a quarter of which moves when cell-2 gets three times its weight.
	items = 240
)

// admin is who commands are, to the RCP of a sandbox.
const admin = "cell-sandbox-admin"

// bed is the federation as a test sees it.
type bed struct {
	box     *sandboxtest.Sandbox
	client  *client.Client
	kube    kubernetes.Interface
	binary  string
	environ []string
	// wrote are the items that were written while nobody drove, which have the name of the test.
	wrote []string
}

func newBed(t *testing.T) *bed {
	t.Helper()
	box := federation.Sandbox(t)
	_, binary, err := sandboxtest.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	// kubectl runs it by this name.
	b := &bed{box: box, binary: filepath.Join(t.TempDir(), "kubectl-cell")}
	if err := os.Symlink(binary, b.binary); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	b.environ = []string{"KUBECONFIG=" + box.Kubeconfig, "HOME=" + home, "KUBECTL_CELL_HOME=" + home, "USER=you"}
	if b.client, err = client.New(box.RCP(t)); err != nil {
		t.Fatal(err)
	}
	if b.kube, err = kubernetes.NewForConfig(box.Router(t)); err != nil {
		t.Fatal(err)
	}
	b.fill(t)
	return b
}

// fill makes what is there to be moved, once.
func (b *bed) fill(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	_, err := b.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range items {
		name := fmt.Sprintf("item-%d", i)
		item := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"made": name}}
		// The namespace has to reach the cells first.
		poll(t, "an item to be made", func(ctx context.Context) (bool, error) {
			_, err := b.kube.CoreV1().ConfigMaps(namespace).Create(ctx, item, metav1.CreateOptions{})
			return err == nil || apierrors.IsAlreadyExists(err), nil
		})
	}
}

func poll(t *testing.T, what string, condition wait.ConditionWithContextFunc) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, condition); err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
}

// run runs kubectl cell without a terminal, and returns what it wrote and its exit code.
func (b *bed) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience) // clean-ups run commands as well
	defer cancel()
	var out, problems strings.Builder
	cmd := exec.CommandContext(ctx, b.binary, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), b.environ...), &out, &problems
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// must runs kubectl cell and wants an exit code.
func (b *bed) must(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, code := b.run(t, args...)
	if code != want {
		t.Fatalf("kubectl cell %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
	}
	return stdout, stderr
}

// change gives cell-2 another weight in the wanted ring than in the current one, by which a quarter moves.
func (b *bed) change(t *testing.T) {
	t.Helper()
	weight := "300"
	for _, m := range b.ring(t).Status.Current.Members {
		if m.Cell == "cell-2" && m.Weight == 300 {
			weight = "100"
		}
	}
	b.must(t, 0, "weight", "cell-2", weight)
}

// unfinished is the run that has not ended, which there must be.
func (b *bed) unfinished(t *testing.T) *v1alpha1.Rebalance {
	t.Helper()
	run, err := rebalance.Unfinished(t.Context(), b.client)
	if err != nil || run == nil {
		t.Fatalf("no rebalance runs (error %v)", err)
	}
	return run
}

// await waits for a state of the run that has not ended.
func (b *bed) await(t *testing.T, what string, condition func(*v1alpha1.Rebalance) bool) {
	t.Helper()
	poll(t, what, func(ctx context.Context) (bool, error) {
		run, err := rebalance.Unfinished(ctx, b.client)
		if err == nil && run == nil {
			return false, fmt.Errorf("the run has ended")
		}
		return err == nil && condition(run), nil
	})
}

// alone suspends the backup daemon, which would take the run over, until the returned function is called or the test ends.
func (b *bed) alone(t *testing.T) (end func()) { return b.suspend(t, "backup") }

// suspend has a part of the sandbox accept connections, and answer nothing, until the returned function is called or the test
// ends.
func (b *bed) suspend(t *testing.T, part string) (resume func()) {
	t.Helper()
	lock := filepath.Join(b.box.Dir(part), "lock")
	resume = func() {
		if resumed, err := daemon.Resume(lock); err != nil || !resumed {
			t.Errorf("resume %s: resumed %v, error %v", part, resumed, err)
		}
	}
	if suspended, err := daemon.Suspend(lock); err != nil || !suspended {
		t.Fatalf("suspend %s: suspended %v, error %v", part, suspended, err)
	}
	t.Cleanup(resume)
	return resume
}

// finish brings the run to its end without a limit to its speed.
func (b *bed) finish(t *testing.T, want v1alpha1.RebalancePhase) {
	t.Helper()
	name := b.unfinished(t).Name
	b.must(t, 0, "rebalance", "--rate", "0", "--window", "50")
	run, err := b.client.Rebalances().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if run.Status.Phase != want {
		t.Errorf("the run is %s; want %s", run.Status.Phase, want)
	}
}

// homes are the cells that items live in.
func (b *bed) homes(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, cell := range []string{"cell-1", "cell-2"} {
		list, err := b.direct(t, cell).CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, cm := range list.Items {
			if strings.HasPrefix(cm.Name, "item-") && cm.Labels[v1alpha1.LabelRebalanceStatus] == "" {
				out[cm.Name] = cell
			}
		}
	}
	return out
}

// squat makes an object of an item's name in the cell that the item does not live in, so that it cannot move there.
func (b *bed) squat(t *testing.T, item, home string) (makeRoom func()) {
	t.Helper()
	cell := map[string]string{"cell-1": "cell-2", "cell-2": "cell-1"}[home]
	mover, err := kubernetes.NewForConfig(fence.AsMover(b.box.Cell(t, cell))) // who alone may delete a tombstone
	if err != nil {
		t.Fatal(err)
	}
	maps := mover.CoreV1().ConfigMaps(namespace)
	makeRoom = func() {
		if err := maps.Delete(t.Context(), item, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	makeRoom() // an earlier run may have left a tombstone
	squatter := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: item}}
	if _, err := maps.Create(t.Context(), squatter, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return makeRoom
}

// squatThird does so for the third item that is planned to move, which it returns.
func (b *bed) squatThird(t *testing.T, homes map[string]string) (third string, makeRoom func()) {
	t.Helper()
	planned, _ := b.must(t, 0, "rebalance", "--dry-run", "-o", "name")
	third = strings.TrimPrefix(strings.Fields(planned)[2], namespace+"/")
	return third, b.squat(t, third, homes[third])
}
