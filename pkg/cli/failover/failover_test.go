package failover_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/failover"
	"github.com/kubecell/kubectl-cell/pkg/cli/history"
	"github.com/kubecell/kubectl-cell/pkg/cli/status"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// federation is that of all tests. A test may leave a cell failed over: another one counts on cell-2 and cell-3.
var federation = sandboxtest.NewFederation(3)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, federation)) }

func run(t *testing.T, s *sandboxtest.Sandbox, args ...string) (stdout, stderr string, code exit.Code) {
	t.Helper()
	return execute(t, s, failover.NewCommand, args)
}

func failback(t *testing.T, s *sandboxtest.Sandbox, args ...string) (stdout, stderr string, code exit.Code) {
	t.Helper()
	return execute(t, s, failover.NewFailbackCommand, args)
}

// execute is a command as a user of the sandbox types it, by way of the router.
func execute(t *testing.T, s *sandboxtest.Sandbox, make func(*command.Env) *cobra.Command, args []string) (stdout, stderr string, code exit.Code) {
	t.Helper()
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Context = &s.Kubeconfig, &s.Name
	if i := slices.Index(args, "--context"); i >= 0 {
		flags.Context = &args[i+1]
		args = slices.Delete(slices.Clone(args), i, i+2)
	}
	var out, errOut bytes.Buffer
	cmd := make(&command.Env{
		IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut},
		Flags:     flags, Clock: clock.RealClock{}, Getenv: func(string) string { return "" }, Program: "kubectl cell",
	})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := cmd.ExecuteContext(ctx)
	exit.Report(&errOut, exit.Plugin, err)
	return out.String(), errOut.String(), exit.CodeOf(err)
}

func want(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

// TestFailoverOfASandboxsCell: from the healthy federation by way of a killed cell to one that serves without it.
func TestFailoverOfASandboxsCell(t *testing.T) {
	s := federation.Sandbox(t)
	kube, err := kubernetes.NewForConfig(s.Router(t))
	if err != nil {
		t.Fatal(err)
	}
	maps := kube.CoreV1().ConfigMaps(metav1.NamespaceDefault)
	ring := ringOf(t, s)
	snap, err := routing.FromRing(ring)
	if err != nil {
		t.Fatal(err)
	}
	var doomed []string
	_, stderr, code := run(t, s, "cell-1")
	if code != exit.Refused {
		t.Errorf("a healthy cell: exit code %d", code)
	}
	want(t, stderr, "error: cell cell-1 answers router", "hint: kubectl cell failover cell-1 --force")
	_, stderr, code = run(t, s, "cell-9")
	if code != exit.Refused {
		t.Errorf("an unknown cell: exit code %d", code)
	}
	want(t, stderr, "cell cell-9 is not in the ring, which has cell-1, cell-2, cell-3")
	_, stderr, code = run(t, s, "cell-1", "--confirm", "cell-2@epoch1")
	if code != exit.Usage {
		t.Errorf("a confirmation of another cell: exit code %d", code)
	}
	want(t, stderr, `--confirm is "cell-2@epoch1"; it must name cell cell-1, as the command does`)
	for _, amount := range []string{"-1", "many"} {
		_, stderr, code = run(t, s, "cell-1", "--accept-loss="+amount)
		if code != exit.Usage {
			t.Errorf("--accept-loss=%s: exit code %d", amount, code)
		}
		want(t, stderr, "it must be a number that is not negative, or all")
	}
	stdout, _, code := run(t, s, "cell-1", "--drill")
	if code != exit.OK {
		t.Errorf("a drill: exit code %d", code)
	}
	want(t, stdout, "of cell cell-1 is done in", "nothing was changed")

	for i := range 12 {
		name := fmt.Sprint("x-", i)
		if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if p, _ := snap.Table.LookupKey("default/" + name); p.Old() == "cell-1" {
			doomed = append(doomed, "configmaps/default/"+name)
		}
	}
	backedUpOnce(t, s, "cell-1")
	if _, err := s.Manager.Chaos(t.Context(), s.Name, "cell-1", sandbox.Kill); err != nil {
		t.Fatal(err)
	}
	lost := losses(t, s)
	for _, name := range lost {
		if !slices.Contains(doomed, name) {
			t.Errorf("%s is said to be lost, and was not in the cell", name)
		}
	}
	confirm := fmt.Sprintf("--confirm=cell-1@epoch%d", ring.Status.Epoch)
	accept := fmt.Sprintf("--accept-loss=%d", len(lost))
	if len(lost) > 0 {
		_, stderr, code = run(t, s, "cell-1", confirm)
		if code != exit.Refused {
			t.Errorf("without the losses being accepted: exit code %d", code)
		}
		want(t, stderr, "objects would be lost or lack a write, and 0 are accepted", accept)
	}
	_, stderr, code = run(t, s, "cell-1", accept, fmt.Sprintf("--confirm=cell-1@epoch%d", ring.Status.Epoch+5))
	if code != exit.Refused {
		t.Errorf("a stale confirmation: exit code %d", code)
	}
	want(t, stderr, "the ring is in epoch")
	stdout, stderr, code = run(t, s, "cell-1", accept, confirm)
	if code != exit.OK {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	want(t, stdout, "cell cell-1 is failed over in")
	want(t, stderr, "next: kubectl cell failback cell-1", "undo: kubectl cell failback cell-1 ; kubectl cell rebalance --window 50   # then, at any time\n", "✔ fence: ", "✔ freeze: the cell does not answer", "✔ ring: ", "✔ promote: ")
	served(t, kube, doomed, lost)
	stdout, _, code = run(t, s, "cell-1")
	if code != exit.OK {
		t.Errorf("once more: exit code %d", code)
	}
	want(t, stdout, "cell cell-1 was failed over already by fo-", "nothing to do")

	_, stderr, code = failback(t, s, "cell-1", "--dry-run")
	if code != exit.Refused {
		t.Errorf("failback of a cell that is dead: exit code %d", code)
	}
	want(t, stderr, "cell cell-1 does not answer")
	if _, err := s.Manager.Chaos(t.Context(), s.Name, "cell-1", sandbox.Restart); err != nil {
		t.Fatal(err)
	}
	stdout, _, code = failback(t, s, "cell-1", "--dry-run")
	if code != exit.OK {
		t.Errorf("dry run of a failback: exit code %d", code)
	}
	want(t, stdout, "cell-1: ", " identical, ", "nothing was changed")
	_, stderr, code = failback(t, s, "cell-1")
	if code != exit.NeedsConfirmation {
		t.Errorf("failback that nobody confirms: exit code %d", code)
	}
	want(t, stderr, "Everything in cell-1 that the federation has, or saves to ", "is deleted there")
	stdout, stderr, code = failback(t, s, "cell-1", "--yes", "--dir", t.TempDir())
	if code != exit.OK {
		t.Fatalf("failback: exit code %d\n%s%s", code, stdout, stderr)
	}
	want(t, stdout, "cell cell-1 is back in the wanted ring")
	want(t, stderr, "✔ thaw: the cell is empty", "next: kubectl cell diff ; kubectl cell rebalance")
	stdout, _, code = failback(t, s, "cell-1", "--yes")
	if code != exit.OK {
		t.Errorf("once more: exit code %d", code)
	}
	want(t, stdout, "cell cell-1 is in the ring; nothing to do")
	stdout, _, code = failback(t, s, "cell-1")
	if code != exit.OK {
		t.Errorf("once more, with nobody to ask: exit code %d", code)
	}
	want(t, stdout, "cell cell-1 is in the ring; nothing to do")

	stdout, _, _ = execute(t, s, history.NewCommand, nil)
	want(t, stdout, "Failover cell-1 ", "Failback cell-1 ", " Succeeded ")
	stdout, _, _ = execute(t, s, status.NewCommand, nil)
	want(t, stdout, "the wanted ring differs from the current one: +cell-1")
	if strings.Contains(stdout, "Frozen") {
		t.Errorf("a cell that was thawed is said to be not frozen:\n%s", stdout)
	}
}

// backedUpOnce waits until the backup of a cell has been complete: before that a failover has to count.
func backedUpOnce(t *testing.T, s *sandboxtest.Sandbox, cell string) {
	t.Helper()
	rcp, err := kubernetes.NewForConfig(s.RCP(t))
	if err != nil {
		t.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := rcp.CoreV1().ConfigMaps(v1alpha1.Namespace).Get(ctx, v1alpha1.MarksPrefix+cell, metav1.GetOptions{})
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("wait for the mark of %s: %v", cell, err)
	}
}

// losses is what --dry-run names of a cell that has just died: the command waits for the router to notice.
func losses(t *testing.T, s *sandboxtest.Sandbox) []string {
	t.Helper()
	stdout, stderr, _ := run(t, s, "cell-1", "--dry-run", "-o", "json")
	if strings.Contains(stderr, "answers router") {
		t.Fatalf("the router still sees the cell: %s", stderr)
	}
	var document struct {
		Kind string
		Data v1alpha1.Failover
	}
	if err := json.Unmarshal([]byte(stdout), &document); err != nil || document.Kind != "Failover" {
		t.Fatalf("%v: %s", err, stdout)
	}
	names, _, _ := run(t, s, "cell-1", "--dry-run", "-o", "name")
	report := document.Data.Status.Report
	if got, want := strings.Fields(names), slices.Concat(report.LostKeys, report.StaleKeys, report.CorruptKeys); !slices.Equal(got, want) {
		t.Errorf("names %v, document %v", got, want)
	}
	return report.LostKeys
}

func ringOf(t *testing.T, s *sandboxtest.Sandbox) *v1alpha1.Ring {
	t.Helper()
	c, err := client.New(s.RCP(t))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := c.Rings().Get(t.Context(), v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// served wants what was not lost to be there, what was lost to be gone and free to be made again, and lists to be answered.
func served(t *testing.T, kube kubernetes.Interface, doomed, lost []string) {
	t.Helper()
	maps := kube.CoreV1().ConfigMaps(metav1.NamespaceDefault)
	for _, full := range doomed {
		name := strings.TrimPrefix(full, "configmaps/default/")
		_, err := maps.Get(t.Context(), name, metav1.GetOptions{})
		if slices.Contains(lost, full) {
			if !apierrors.IsNotFound(err) {
				t.Errorf("%s, which was lost: %v", name, err)
			}
			_, err = maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	list, err := maps.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) < 12 {
		t.Errorf("list: %v, %d", err, len(list.Items))
	}
}
