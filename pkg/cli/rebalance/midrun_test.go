package rebalance_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// process is a command that runs beside the test.
type process struct {
	sandboxtest.Buffer // what it has written

	cmd   *exec.Cmd
	ended chan struct{}
}

// begin runs kubectl cell without a terminal, until it ends or the test does.
func (b *bed) begin(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(b.binary, args...), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = append(os.Environ(), b.environ...), p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		defer close(p.ended)
		_ = p.cmd.Wait() // its exit code is looked at
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// says waits until it has written all of the words.
func (p *process) says(t *testing.T, words ...string) {
	t.Helper()
	deadline := time.After(patience)
	for _, word := range words {
		for !strings.Contains(p.String(), word) {
			select {
			case <-p.ended:
				t.Fatalf("it ended without %q:\n%s", word, p)
			case <-deadline:
				t.Fatalf("%q does not come:\n%s", word, p)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// ends waits for its exit code.
func (p *process) ends(t *testing.T, want int) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("it does not end:\n%s", p)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != want {
		t.Fatalf("exit code %d; want %d:\n%s", code, want, p)
	}
}

// moving begins a run of so many units a second, of more than fifty, and waits until it is in the middle.
func (b *bed) moving(t *testing.T, rate string) *process {
	t.Helper()
	b.change(t)
	p := b.begin(t, "rebalance", "--window", "4", "--rate", rate, "--yes")
	p.says(t, " migrated")
	return p
}

// statusSays waits until the status of the run has all of the words.
func (b *bed) statusSays(t *testing.T, words ...string) {
	t.Helper()
	var status string
	defer func() {
		if t.Failed() {
			t.Logf("the status:\n%s", status)
		}
	}()
	missing := func(word string) bool { return !strings.Contains(status, word) }
	poll(t, fmt.Sprintf("the status to say %q", words), func(context.Context) (bool, error) {
		status, _, _ = b.run(t, "rebalance", "status")
		return !slices.ContainsFunc(words, missing), nil
	})
}

// writable waits until no item is closed to writes in any cell, and writes to some through the router.
func (b *bed) writable(t *testing.T) {
	t.Helper()
	closed := metav1.ListOptions{LabelSelector: v1alpha1.LabelRebalanceStatus + "=" + string(v1alpha1.Migrating)}
	for _, cell := range []string{"cell-1", "cell-2"} {
		maps := b.direct(t, cell).CoreV1().ConfigMaps(namespace)
		poll(t, "all items to be writable in "+cell, func(ctx context.Context) (bool, error) {
			list, err := maps.List(ctx, closed)
			return err == nil && len(list.Items) == 0, nil
		})
	}
	for i := range 10 {
		name := fmt.Sprintf("item-%d", i)
		_, err := b.kube.CoreV1().ConfigMaps(namespace).Patch(t.Context(), name, types.MergePatchType,
			fmt.Appendf(nil, `{"metadata":{"annotations":{"written":%q}}}`, t.Name()), metav1.PatchOptions{})
		if err != nil {
			t.Errorf("write while nobody drives: %v", err)
			continue
		}
		b.wrote = append(b.wrote, name)
	}
}

// whole wants every item through the router, as it was made and with what was written since, and once in the cells.
func (b *bed) whole(t *testing.T) {
	t.Helper()
	shown := map[string]bool{}
	list, err := b.kube.CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, cm := range list.Items {
		shown[cm.Name] = cm.Data["made"] == cm.Name
		if got := cm.Annotations["written"]; slices.Contains(b.wrote, cm.Name) && got != t.Name() {
			t.Errorf("%s was written by %q; the write of this test is lost", cm.Name, got)
		}
	}
	live := map[string]int{}
	for _, cell := range []string{"cell-1", "cell-2"} {
		list, err := b.direct(t, cell).CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, cm := range list.Items {
			switch status := cm.Labels[v1alpha1.LabelRebalanceStatus]; status {
			case "":
				live[cm.Name]++
			case string(v1alpha1.Migrated):
			default:
				t.Errorf("%s in %s is left %s", cm.Name, cell, status)
			}
		}
	}
	for i := range items {
		if name := fmt.Sprintf("item-%d", i); !shown[name] || live[name] != 1 {
			t.Errorf("%s is shown as it was made: %v, and lives in %d cells", name, shown[name], live[name])
		}
	}
}

func (b *bed) direct(t *testing.T, cell string) kubernetes.Interface {
	t.Helper()
	kube, err := kubernetes.NewForConfig(b.box.Cell(t, cell))
	if err != nil {
		t.Fatal(err)
	}
	return kube
}

// kubeconfig writes access to a control plane into a file.
func kubeconfig(t *testing.T, config *rest.Config) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, sandboxtest.Kubeconfig(t, config), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestTheRCPIsGoneMidRun while one process drives and another one is ready to, be it that it has ended or that it hangs: the
// first says so, and can be left; nothing stays closed to writes; when the RCP is back, the other one brings the run to its
// end.
func TestTheRCPIsGoneMidRun(t *testing.T) {
	for name, gone := range map[string]func(*bed, *testing.T) (back func()){
		"ended": func(b *bed, t *testing.T) (back func()) {
			b.box.Kill(t, "rcp")
			back = func() { b.box.Start(t, "rcp") }
			t.Cleanup(back)
			return back
		},
		"hanging": func(b *bed, t *testing.T) (back func()) { return b.suspend(t, "rcp") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			driver := b.moving(t, "4")
			second := b.begin(t, "rebalance")
			second.says(t, "has not ended", "this process takes over when that one stops")
			back := gone(b, t)
			_, stderr := b.must(t, 1, "rebalance", "status")
			wantText(t, stderr, "does not answer", "hint: ")
			driver.says(t, "this driver has lost its lease: the router control plane does not answer")
			b.writable(t)
			_ = driver.cmd.Process.Signal(syscall.SIGINT)
			driver.ends(t, 130)
			driver.says(t, "is left; how far it is cannot be asked", "next: kubectl cell rebalance")
			back()
			second.ends(t, 0)
			b.whole(t)
		})
	}
}

// TestTheRingIsEditedMidRun: the run goes on to the ring that was accepted, also with another driver after the first was
// killed; each command says that the change waits, an edit that makes no sense is refused, and the next run carries the
// change out.
func TestTheRingIsEditedMidRun(t *testing.T) {
	b := newBed(t)
	driver := b.moving(t, "2")
	name := b.unfinished(t).Name
	accepted := b.ring(t).Status.Target.DeepCopy()
	const change = "the wanted ring was changed since: cell-1 100→150; that waits for the next run"
	if err := b.edit(t, 0); !apierrors.IsInvalid(err) {
		t.Errorf("an edit to weight 0: %v; want it to be refused", err)
	}
	if err := b.edit(t, 150); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.edit(t, 100); err != nil {
			t.Error(err)
		}
		b.must(t, 0, "rebalance", "--rate", "0", "--window", "50", "--yes")
	})
	b.statusSays(t, change)
	_, stderr := b.must(t, 0, "rebalance", "--detach", "--rate", "2")
	wantText(t, stderr, "rebalance "+name+" has not ended", change)
	_ = driver.cmd.Process.Kill()
	driver.ends(t, -1)
	second := b.begin(t, "rebalance", "--rate", "0", "--window", "50")
	second.ends(t, 0)
	second.says(t, "rebalance "+name+" has not ended", "rebalance "+name+" Succeeded", change, "next: kubectl cell diff ; kubectl cell rebalance")
	b.whole(t)
	if current := b.ring(t).Status.Current; !equality.Semantic.DeepEqual(current.Members, accepted.Members) {
		t.Errorf("the run led to %v; want what was accepted, %v", current.Members, accepted.Members)
	}
	b.must(t, 1, "diff")
	stdout, _ := b.must(t, 0, "rebalance", "--window", "50", "--yes")
	wantText(t, stdout, " Succeeded: ")
	for _, m := range b.ring(t).Status.Current.Members {
		if m.Cell == "cell-1" && m.Weight != 150 {
			t.Errorf("the next run gave cell-1 the weight %d; want 150", m.Weight)
		}
	}
	b.whole(t)
}

// edit gives cell-1 a weight in the wanted ring, as `kubectl edit` does.
func (b *bed) edit(t *testing.T, weight int32) error {
	t.Helper()
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		ring := b.ring(t)
		for i := range ring.Spec.Members {
			if m := &ring.Spec.Members[i]; m.Cell == "cell-1" {
				m.Weight = weight
			}
		}
		_, err := b.client.Rings().Update(context.WithoutCancel(t.Context()), ring, metav1.UpdateOptions{})
		return err
	})
}

func (b *bed) ring(t *testing.T) *v1alpha1.Ring {
	t.Helper()
	ring, err := b.client.Rings().Get(context.WithoutCancel(t.Context()), v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// TestACellIsRemovedMidRun from the API: by the command that is refused, by hand the run says which is missing, and
// goes on when it is back.
func TestACellIsRemovedMidRun(t *testing.T) {
	b := newBed(t)
	driver := b.moving(t, "4")
	_, stderr := b.must(t, 4, "remove", "cell-2", "--yes")
	wantText(t, stderr, "hint: ")
	if err := b.client.Cells().Delete(t.Context(), "cell-2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	driver.says(t, "cell cell-2: there is no such Cell any more")
	b.statusSays(t, "! cell cell-2: there is no such Cell any more", "kubectl cell add cell-2")
	b.installedAs(t, "kubectl-kube_cell").statusSays(t, "! cell cell-2: there is no such Cell any more", "kubectl kube-cell add cell-2")
	b.must(t, 0, "add", "cell-2", "--kubeconfig", kubeconfig(t, b.box.Cell(t, "cell-2")))
	driver.ends(t, 0)
	b.whole(t)
}

// installedAs is the bed with the program under another name.
func (b *bed) installedAs(t *testing.T, name string) *bed {
	t.Helper()
	other := *b
	other.binary = filepath.Join(t.TempDir(), name)
	if err := os.Symlink(b.binary, other.binary); err != nil {
		t.Fatal(err)
	}
	return &other
}

// TestCredentialsAreRevokedMidRun, be it that they are nobody's any more or that they may nothing: the run says whose, waits,
// and goes on with others.
func TestCredentialsAreRevokedMidRun(t *testing.T) {
	for says, revoke := range map[string]func(*sandboxtest.Account){
		"cannot impersonate": func(a *sandboxtest.Account) { a.Forbid() },
		"Unauthorized":       func(a *sandboxtest.Account) { a.Delete() }, // a control plane believes a token for ten seconds more
	} {
		t.Run(says, func(t *testing.T) {
			b := newBed(t)
			account := b.newCredentials(t, "cell-2")
			driver := b.moving(t, "3")
			revoke(account)
			driver.says(t, "cell cell-2: ", says)
			b.statusSays(t, "! cell cell-2: ", says, "kubectl cell add cell-2")
			b.must(t, 0, "add", "cell-2", "--kubeconfig", kubeconfig(t, b.box.Cell(t, "cell-2")))
			driver.ends(t, 0)
			b.whole(t)
		})
	}
}

// TestTheRCPRefusesTheDriverMidRun, who may nothing any more there, or is nobody: the driver says so and what helps, nothing
// stays closed to writes, and the run is left to somebody whom the RCP knows.
func TestTheRCPRefusesTheDriverMidRun(t *testing.T) {
	for says, refuse := range map[string]func(*sandboxtest.Account){
		"is forbidden": func(a *sandboxtest.Account) { a.Forbid() },
		"Unauthorized": func(a *sandboxtest.Account) { a.Delete() }, // a control plane believes a token for ten seconds more
	} {
		t.Run(says, func(t *testing.T) {
			b := newBed(t)
			account := sandboxtest.NewAccount(t, b.box.RCP(t))
			mine := *b
			mine.environ = append(slices.Clone(b.environ), "KUBECONFIG="+kubeconfig(t, account.Config))
			driver := mine.moving(t, "1")
			goOn := b.alone(t)
			refuse(account)
			driver.says(t, "this driver has lost its lease: the router control plane refuses it", says, "the cluster role kubecell-admin")
			b.writable(t)
			_, stderr := mine.must(t, 1, "rebalance", "status")
			wantText(t, stderr, says, "hint: ")
			_ = driver.cmd.Process.Signal(syscall.SIGINT)
			driver.ends(t, 130)
			driver.says(t, "is left; how far it is cannot be asked", "lets you in again; next: kubectl cell rebalance")
			goOn()
			b.finish(t, v1alpha1.RebalanceSucceeded)
			b.whole(t)
		})
	}
}

// newCredentials has the federation use an account of the cell, until the test ends.
func (b *bed) newCredentials(t *testing.T, cell string) *sandboxtest.Account {
	t.Helper()
	account := sandboxtest.NewAccount(t, b.box.Cell(t, cell))
	own := kubeconfig(t, b.box.Cell(t, cell))
	t.Cleanup(func() { b.must(t, 0, "add", cell, "--kubeconfig", own) })
	b.must(t, 0, "add", cell, "--kubeconfig", kubeconfig(t, account.Config))
	return account
}
