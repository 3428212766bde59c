package federation_test

import (
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// planes are the control planes of all tests in this package: the RCP and three cells. A test that
// uses them does not run in parallel with others.
var planes = sandboxtest.NewPool(4)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }

// bed is an RCP without Ring and Cells, and three control planes.
type bed struct {
	rcp   *rest.Config
	cells []*rest.Config
	kube  kubernetes.Interface
	cell  *client.Client
}

func newBed(t *testing.T) *bed {
	t.Helper()
	configs := planes.Configs(t)
	b := &bed{rcp: configs[0], cells: configs[1:]}
	var err error
	if b.kube, err = kubernetes.NewForConfig(b.rcp); err != nil {
		t.Fatal(err)
	}
	if b.cell, err = client.New(b.rcp); err != nil {
		t.Fatal(err)
	}
	b.clear(t)
	return b
}

// clear removes what an earlier test left.
func (b *bed) clear(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	err := b.cell.Rings().Delete(ctx, v1alpha1.RingName, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	list, err := b.cell.Cells().List(ctx, metav1.ListOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	if err == nil {
		for _, cell := range list.Items {
			if err := b.cell.Cells().Delete(ctx, cell.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = b.kube.CoreV1().Secrets(v1alpha1.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
}

// init initialises the RCP with the first n cells as founders cell-1 to cell-n.
func (b *bed) init(t *testing.T, n int) federation.InitResult {
	t.Helper()
	var founders []federation.NewCell
	names := []string{"cell-1", "cell-2", "cell-3"}
	for i := range n {
		founders = append(founders, federation.NewCell{Name: names[i], Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[i])})
	}
	result, err := federation.Init(t.Context(), b.rcp, federation.InitOptions{Founders: founders})
	if err != nil {
		t.Fatalf("init with %d founders: %v", n, err)
	}
	return result
}

func (b *bed) ring(t *testing.T) *v1alpha1.Ring {
	t.Helper()
	ring, err := b.cell.Rings().Get(t.Context(), v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// wanted are the names of the wanted members, in their order.
func (b *bed) wanted(t *testing.T) string {
	t.Helper()
	return members(b.ring(t).Spec.Members)
}

func members(list []v1alpha1.RingMember) string {
	var names []string
	for _, m := range list {
		names = append(names, m.Cell)
	}
	return strings.Join(names, " ")
}

// stored are the names of the Cells and of their Secrets.
func (b *bed) stored(t *testing.T) (cells, secrets []string) {
	t.Helper()
	list, err := b.cell.Cells().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, cell := range list.Items {
		cells = append(cells, cell.Name)
	}
	all, err := b.kube.CoreV1().Secrets(v1alpha1.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range all.Items {
		if secret.Type == corev1.SecretTypeOpaque {
			secrets = append(secrets, secret.Name)
		}
	}
	return cells, secrets
}

// wantError checks the exit code of err and that its message and hint contain the words.
func wantError(t *testing.T, err error, code exit.Code, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want exit code %d with %q", code, words)
	}
	if got := exit.CodeOf(err); got != code {
		t.Errorf("exit code %d; want %d for: %v", got, code, err)
	}
	var text strings.Builder
	exit.Report(&text, exit.Plugin, err)
	for _, word := range words {
		if !strings.Contains(text.String(), word) {
			t.Errorf("error %q\n  lacks %q", text.String(), word)
		}
	}
}
