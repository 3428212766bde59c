package federation_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

func TestRemoveRefusesACellOfAnyRing(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	remove := func() error {
		_, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{Force: true})
		return err
	}
	wantError(t, remove(), exit.Refused, "in the wanted ring", "kubectl cell drain cell-2")
	if _, err := federation.Drain(t.Context(), b.rcp, "cell-2", federation.Options{}); err != nil {
		t.Fatal(err)
	}
	wantError(t, remove(), exit.Refused, "in the current ring")
	ring := b.ring(t)
	ring.Status.Target = ring.Status.Current.DeepCopy()
	ring.Status.Current.Members = ring.Status.Current.Members[:1]
	if _, err := b.cell.Rings().UpdateStatus(t.Context(), ring, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	wantError(t, remove(), exit.Refused, "in its target ring")
}

func TestRemoveRefusesWhatTheCellStillHolds(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	if _, err := b.add(t, "cell-2", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := federation.Drain(t.Context(), b.rcp, "cell-2", federation.Options{}); err != nil {
		t.Fatal(err)
	}
	// The fence lets nobody else make and delete a tombstone.
	inCell, err := kubernetes.NewForConfig(fence.AsMover(b.cells[1]))
	if err != nil {
		t.Fatal(err)
	}
	put := func(ns, name string, kind corev1.SecretType, status v1alpha1.RebalanceStatus) {
		t.Helper()
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: kind}
		if status != "" {
			secret.Labels = map[string]string{v1alpha1.LabelRebalanceStatus: string(status)}
		}
		if _, err := inCell.CoreV1().Secrets(ns).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put("default", "left", corev1.SecretTypeOpaque, "")
	put("default", "gone", corev1.SecretTypeOpaque, v1alpha1.Migrated)
	put(v1alpha1.Namespace, "copy", federation.EnvelopeType, "")
	put(v1alpha1.Namespace, "other", corev1.SecretTypeOpaque, "")

	report, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{})
	wantError(t, err, exit.Refused, "1 sharded objects (secrets default/left)", "1 tombstones", "12h0m0s", "1 envelopes", "--force")
	if r := report.Remains; r.Objects != 1 || r.Tombstones != 1 || r.Envelopes != 1 {
		t.Errorf("remains %+v; want one of each", r)
	}
	for ns, names := range map[string][]string{"default": {"left", "gone"}, v1alpha1.Namespace: {"copy"}} {
		for _, name := range names {
			if err := inCell.CoreV1().Secrets(ns).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("dry run", func(t *testing.T) {
		options := federation.RemoveOptions{Options: federation.Options{DryRun: true}}
		report, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", options)
		cells, secrets := b.stored(t)
		if err != nil || !report.Removed || len(cells) != 2 || len(secrets) != 2 {
			t.Errorf("dry run: %+v, %v, cells %v, secrets %v; want nothing deleted", report, err, cells, secrets)
		}
	})
	report, err = federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{})
	if err != nil || !report.Removed {
		t.Fatalf("remove: %+v, %v", report, err)
	}
	if cells, secrets := b.stored(t); len(cells) != 1 || len(secrets) != 1 {
		t.Errorf("after removal: cells %v, secrets %v; want one each", cells, secrets)
	}
	direct, err := kubernetes.NewForConfig(b.cells[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.CoreV1().Secrets(v1alpha1.Namespace).Get(t.Context(), "other", metav1.GetOptions{}); err != nil {
		t.Errorf("the control plane was touched: %v", err)
	}
	if found, err := fence.Check(t.Context(), b.cells[1]); err != nil || found.State != fence.Missing || len(found.Differences) != 4 {
		t.Errorf("the fence of the cell: %s, %v; want it off", found, err)
	}
}

func TestRemoveACellThatIsLost(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	lost := &v1alpha1.Cell{ObjectMeta: metav1.ObjectMeta{Name: "cell-2"}}
	lost.Spec.KubeconfigSecretRef.Name = "cell-cell-2"
	if _, err := b.cell.Cells().Create(t.Context(), lost, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{})
	wantError(t, err, exit.Refused, "cannot look into cell cell-2", "remove cell-2 --force")
	report, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{Force: true})
	if err != nil || !report.Removed || report.FenceLeft == "" {
		t.Fatalf("forced: %+v, %v; want it removed, and said that the fence is left", report, err)
	}
}

func TestRemovalResumes(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	left := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cell-cell-2"}}
	if _, err := b.kube.CoreV1().Secrets(v1alpha1.Namespace).Create(t.Context(), left, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	report, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{})
	if err != nil || !report.Removed {
		t.Fatalf("remove: %+v, %v; want the Secret gone", report, err)
	}
	if _, secrets := b.stored(t); len(secrets) != 1 {
		t.Errorf("secrets %v", secrets)
	}
}
