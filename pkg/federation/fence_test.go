package federation_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

func wantFenced(t *testing.T, cell *v1alpha1.Cell, status metav1.ConditionStatus, reason string) {
	t.Helper()
	got := meta.FindStatusCondition(cell.Status.Conditions, v1alpha1.ConditionFenced)
	if got == nil || got.Status != status || got.Reason != reason {
		t.Errorf("cell %s: condition %+v; want %s with reason %s", cell.Name, got, status, reason)
	}
}

func (b *bed) storedCell(t *testing.T, name string) *v1alpha1.Cell {
	t.Helper()
	cell, err := b.cell.Cells().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cell
}

func TestEveryFounderIsFenced(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	for i, name := range []string{"cell-1", "cell-2"} {
		wantFenced(t, b.storedCell(t, name), metav1.ConditionTrue, v1alpha1.ReasonFenceInForce)
		if found, err := fence.Check(t.Context(), b.cells[i]); err != nil || found.State != fence.Live {
			t.Errorf("%s: %s, %v", name, found, err)
		}
		client, err := kubernetes.NewForConfig(b.cells[i])
		if err != nil {
			t.Fatal(err)
		}
		labels := map[string]string{v1alpha1.LabelRebalanceStatus: string(v1alpha1.Migrating)}
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x", Labels: labels}}
		if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), object, metav1.CreateOptions{}); !fence.IsRefusal(err) {
			t.Errorf("%s: %v; want the fence's refusal", name, err)
		}
	}
}

func TestAddingAgainRepairsTheFence(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	client, err := kubernetes.NewForConfig(b.cells[0])
	if err != nil {
		t.Fatal(err)
	}
	policies := client.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	body := []byte(`{"spec":{"failurePolicy":"Ignore"}}`)
	if _, err := policies.Patch(t.Context(), fence.Name, types.MergePatchType, body, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	cell := federation.NewCell{Name: "cell-1", Kubeconfig: sandboxtest.Kubeconfig(t, b.cells[0])}
	dry, err := federation.AddCell(t.Context(), b.rcp, cell, federation.Options{DryRun: true})
	if err != nil || dry.Updated {
		t.Errorf("dry run: %+v, %v", dry, err)
	}
	if found, err := fence.Check(t.Context(), b.cells[0]); err != nil || found.State != fence.Drifted {
		t.Errorf("after a dry run: %s, %v; want it as it was", found, err)
	}
	report, err := federation.AddCell(t.Context(), b.rcp, cell, federation.Options{})
	if err != nil || !report.Updated || report.Already() {
		t.Errorf("report %+v, %v; want it updated", report, err)
	}
	if found, err := fence.Check(t.Context(), b.cells[0]); err != nil || found.State != fence.Live {
		t.Errorf("afterwards: %s, %v", found, err)
	}
}

// TestACellWithoutAdmissionPolicies is taken, and said to have no fence; the mover may write there. The one here answers as if
// its apiserver had that API turned off.
func TestACellWithoutAdmissionPolicies(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	if err := fence.Remove(t.Context(), b.cells[1]); err != nil { // an earlier test's
		t.Fatal(err)
	}
	unfenced := federation.NewCell{Name: "cell-2", Kubeconfig: sandboxtest.Kubeconfig(t, sandboxtest.Proxy(t, b.cells[1], sandboxtest.NoPolicies))}
	report, err := federation.AddCell(t.Context(), b.rcp, unfenced, federation.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if last := report.Checks[len(report.Checks)-1]; !last.Warning || last.Name != "no fence" {
		t.Errorf("last check %+v; want a warning", last)
	}
	wantFenced(t, b.storedCell(t, "cell-2"), metav1.ConditionFalse, v1alpha1.ReasonFenceUnsupported)
	mover, err := kubernetes.NewForConfig(fence.AsMover(b.cells[1]))
	if err != nil {
		t.Fatal(err)
	}
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	if _, err := mover.CoreV1().ConfigMaps("default").Create(t.Context(), object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Errorf("the mover: %v", err)
	}
	if _, err := federation.Drain(t.Context(), b.rcp, "cell-2", federation.Options{}); err != nil {
		t.Fatal(err)
	}
	if report, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{}); err != nil || !report.Removed {
		t.Errorf("remove: %+v, %v", report, err)
	}
}
