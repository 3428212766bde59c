package federation_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// renamed are other credentials for a control plane.
func (b *bed) renamed(t *testing.T, i int) []byte {
	t.Helper()
	return sandboxtest.Kubeconfig(t, b.cells[i], func(c *clientcmdapi.Config) {
		c.Clusters["it"].Server = strings.Replace(c.Clusters["it"].Server, "127.0.0.1", "localhost", 1)
	})
}

// hasKubeconfig wants these credentials to be stored of a cell.
func (b *bed) hasKubeconfig(t *testing.T, cell string, want []byte) {
	t.Helper()
	secret, err := b.kube.CoreV1().Secrets(v1alpha1.Namespace).Get(t.Context(), "cell-"+cell, metav1.GetOptions{})
	if err != nil || !bytes.Equal(secret.Data[v1alpha1.KubeconfigKey], want) {
		t.Errorf("the credentials of %s were not replaced (%v)", cell, err)
	}
}

// status changes the Ring's.
func (b *bed) status(t *testing.T, change func(*v1alpha1.RingStatus)) {
	t.Helper()
	ring := b.ring(t)
	change(&ring.Status)
	if _, err := b.cell.Rings().UpdateStatus(t.Context(), ring, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// left is a status in which a cell has left the current ring.
func left(cell string) func(*v1alpha1.RingStatus) {
	return func(s *v1alpha1.RingStatus) {
		s.Current.Members = slices.DeleteFunc(s.Current.Members, func(m v1alpha1.RingMember) bool { return m.Cell == cell })
	}
}

// failOver has cell-2 be out of every ring, and unavailable.
func (b *bed) failOver(t *testing.T) {
	t.Helper()
	if _, err := federation.Drain(t.Context(), b.rcp, "cell-2", federation.Options{}); err != nil {
		t.Fatal(err)
	}
	b.status(t, left("cell-2"))
	b.status(t, func(s *v1alpha1.RingStatus) { s.Unavailable = []string{"cell-2"} })
}

// TestAddLeavesADrainedCellOut, whether it holds its workloads still or waits for its removal: what belongs to the cell itself is
// renewed. A weight says that it is wanted.
func TestAddLeavesADrainedCellOut(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	if _, err := federation.Drain(t.Context(), b.rcp, "cell-2", federation.Options{}); err != nil {
		t.Fatal(err)
	}
	for i, kubeconfig := range [][]byte{b.renamed(t, 1), sandboxtest.Kubeconfig(t, b.cells[1])} {
		if i > 0 {
			b.status(t, left("cell-2"))
		}
		if err := fence.Remove(t.Context(), b.cells[1]); err != nil {
			t.Fatal(err)
		}
		cell := federation.NewCell{Name: "cell-2", Kubeconfig: kubeconfig}
		report, err := federation.AddCell(t.Context(), b.rcp, cell, federation.Options{})
		if err != nil || !report.Updated || !report.Drained || report.Change.Changed {
			t.Fatalf("a drained cell: %+v, %v; want it renewed and left out", report, err)
		}
		if got := b.wanted(t); got != "cell-1" {
			t.Errorf("wanted %q; want cell-1 alone", got)
		}
		b.hasKubeconfig(t, "cell-2", kubeconfig)
		if found, err := fence.Check(t.Context(), b.cells[1]); err != nil || found.State != fence.Live {
			t.Errorf("its fence: %s, %v; want it in force", found, err)
		}
		report, err = federation.AddCell(t.Context(), b.rcp, cell, federation.Options{})
		if err != nil || !report.Already() || !report.Drained {
			t.Errorf("once more: %+v, %v; want nothing to do", report, err)
		}
	}
	report, err := federation.AddCell(t.Context(), b.rcp, federation.NewCell{Name: "cell-2", Kubeconfig: b.renamed(t, 1), Weight: 50}, federation.Options{})
	if m := b.ring(t).Spec.Members; err != nil || !report.Change.Changed || report.Drained || len(m) != 2 || m[1].Weight != 50 {
		t.Errorf("with a weight: %+v, %v, wanted %+v; want it a member with 50", report, err, m)
	}
}

// TestDrainAfterACutOffAddition: what was cut off at its very end does not bring the cell back later.
func TestDrainAfterACutOffAddition(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	b.addCutOff(t, "cell-2", 1)
	ring := b.ring(t)
	ring.Spec.Members = append(ring.Spec.Members, v1alpha1.RingMember{Cell: "cell-2", Weight: 100})
	if _, err := b.cell.Rings().Update(t.Context(), ring, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := federation.Drain(t.Context(), b.rcp, "cell-2", federation.Options{}); err != nil {
		t.Fatal(err)
	}
	if report, err := b.add(t, "cell-2", 1); err != nil || !report.Drained || b.wanted(t) != "cell-1" {
		t.Errorf("%+v, %v, wanted %q; want it left out", report, err, b.wanted(t))
	}
}

// TestAddRenewsACellThatWasFailedOver: its way alone, also where its Cell was removed; nothing joins, and nothing is written for
// another control plane.
func TestAddRenewsACellThatWasFailedOver(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	b.status(t, func(s *v1alpha1.RingStatus) { s.Unavailable = []string{"cell-2"} })
	_, err := b.add(t, "cell-2", 1)
	wantError(t, err, exit.Refused, "is being failed over", "kubectl cell failover cell-2")
	b.status(t, func(s *v1alpha1.RingStatus) { s.Unavailable = nil })
	b.failOver(t)
	before := b.ring(t).ResourceVersion
	add := func(i int, cell federation.NewCell, options federation.Options) (federation.AddReport, error) {
		cell.Name = "cell-2"
		if cell.Kubeconfig == nil {
			cell.Kubeconfig = b.renamed(t, i)
		}
		return federation.AddCell(t.Context(), b.rcp, cell, options)
	}
	_, err = add(1, federation.NewCell{Weight: 50}, federation.Options{})
	wantError(t, err, exit.Refused, "was failed over", "kubectl cell failback cell-2 ; kubectl cell weight cell-2 50")
	_, err = add(2, federation.NewCell{}, federation.Options{})
	wantError(t, err, exit.Refused, "was failed over, and this is another control plane", "kubectl cell remove cell-2 --force")
	old := sandboxtest.Kubeconfig(t, b.cells[1])
	if report, err := add(1, federation.NewCell{}, federation.Options{DryRun: true}); err != nil || !report.FailedOver {
		t.Errorf("a dry run: %+v, %v", report, err)
	}
	b.hasKubeconfig(t, "cell-2", old)
	report, err := add(1, federation.NewCell{}, federation.Options{})
	if err != nil || !report.FailedOver || !report.Updated || report.Change.Changed {
		t.Errorf("%+v, %v; want it renewed", report, err)
	}
	b.hasKubeconfig(t, "cell-2", b.renamed(t, 1))
	if report, err = add(1, federation.NewCell{}, federation.Options{}); err != nil || !report.Already() {
		t.Errorf("once more: %+v, %v; want nothing to do", report, err)
	}
	_, err = federation.Undrain(t.Context(), b.rcp, "cell-2", federation.Options{})
	wantError(t, err, exit.Refused, "was failed over", "kubectl cell failback cell-2")
	_, err = federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{Force: true})
	wantError(t, err, exit.Refused, "was failed over", "kubectl cell remove cell-2 --force")
	if err := b.cell.Cells().Delete(t.Context(), "cell-2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = add(2, federation.NewCell{}, federation.Options{})
	wantError(t, err, exit.Refused, "this is another control plane")
	if report, err = add(1, federation.NewCell{}, federation.Options{}); err != nil || !report.FailedOver || !report.Created {
		t.Errorf("without its Cell: %+v, %v; want it stored again", report, err)
	}
	if now := b.ring(t); now.ResourceVersion != before || b.wanted(t) != "cell-1" {
		t.Errorf("the ring was changed: wanted %q, status %+v", b.wanted(t), now.Status)
	}
}

// TestAControlPlaneThatWasGivenUp is a cell again only when nothing is left in it, under whatever name, and in a slot of its own;
// another one takes its name at once.
func TestAControlPlaneThatWasGivenUp(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	b.failOver(t)
	if report, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{FailedOver: true}); err != nil || !report.Removed {
		t.Fatalf("remove: %+v, %v", report, err)
	}
	b.status(t, func(s *v1alpha1.RingStatus) {
		s.Unavailable = nil
		federation.GiveUp(s, "cell-2")
	})
	inCell, err := kubernetes.NewForConfig(fence.AsMover(b.cells[1]))
	if err != nil {
		t.Fatal(err)
	}
	for ns, secret := range map[string]*corev1.Secret{
		"default":          {ObjectMeta: metav1.ObjectMeta{Name: "left"}},
		v1alpha1.Namespace: {ObjectMeta: metav1.ObjectMeta{Name: "copy"}, Type: federation.EnvelopeType},
	} {
		if _, err := inCell.CoreV1().Secrets(ns).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"cell-2", "cell-9"} {
			_, err := b.add(t, name, 1)
			wantError(t, err, exit.Refused, "control plane of cell cell-2, which was failed over and given up", "still holds", "empty etcd")
		}
		if err := inCell.CoreV1().Secrets(ns).Delete(t.Context(), secret.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if cells, secrets := b.stored(t); len(cells) != 1 || len(secrets) != 1 || b.wanted(t) != "cell-1" {
		t.Errorf("left behind: cells %v, secrets %v, wanted %q", cells, secrets, b.wanted(t))
	}
	byHand := &v1alpha1.Cell{ObjectMeta: metav1.ObjectMeta{Name: "cell-2"}}
	byHand.Spec.KubeconfigSecretRef.Name = "cell-cell-2"
	if _, err := b.cell.Cells().Create(t.Context(), byHand, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = federation.Undrain(t.Context(), b.rcp, "cell-2", federation.Options{})
	wantError(t, err, exit.Refused, "its old control plane", "kubectl cell remove cell-2 --force")
	if err := b.cell.Cells().Delete(t.Context(), "cell-2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.joins(t, 2)
	if _, err := federation.Drain(t.Context(), b.rcp, "cell-2", federation.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := fence.Freeze(t.Context(), b.cells[1]); err != nil {
		t.Fatal(err)
	}
	if err := fence.AwaitFrozen(t.Context(), b.cells[1]); err != nil {
		t.Fatal(err)
	}
	b.joins(t, 1)
	direct, err := kubernetes.NewForConfig(b.cells[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.CoreV1().Secrets("default").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "new"}}, metav1.CreateOptions{}); err != nil {
		t.Errorf("a write in it: %v; want it thawed", err)
	}
	if err := direct.CoreV1().Secrets("default").Delete(t.Context(), "new", metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

// joins wants a control plane to be taken in as cell-2, in a slot that nobody had.
func (b *bed) joins(t *testing.T, i int) {
	t.Helper()
	before := b.ring(t).Status.Slots
	report, err := b.add(t, "cell-2", i)
	after := b.ring(t).Status.Slots
	if err != nil || !report.Created || b.wanted(t) != "cell-1 cell-2" {
		t.Fatalf("%+v, %v, wanted %q; want it to join", report, err, b.wanted(t))
	}
	if last := after[len(after)-1]; len(after) != len(before)+1 || last.GivenUp || last.Slot != int32(len(after)) {
		t.Errorf("slots %+v after %+v; want a new one", after, before)
	}
}
