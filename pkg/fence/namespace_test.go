package fence_test

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// gone waits until a namespace is gone.
func (c *cell) gone(t *testing.T, name string) {
	t.Helper()
	eventually(t, "namespace "+name+" goes", func(ctx context.Context) error {
		_, err := c.kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is still there"), err)
	})
}

// TestANamespaceGoesWithItsTombstones: they would hold it up for the hours of their grace period.
func TestANamespaceGoesWithItsTombstones(t *testing.T) {
	c := fenced(t)
	c.machine(t)
	const ns = "going"
	c.namespace(t, ns)
	for _, resource := range kinds() {
		for _, state := range []v1alpha1.RebalanceStatus{v1alpha1.Migrated, v1alpha1.Migrating} {
			if _, err := c.mover.Resource(resource).Namespace(ns).Create(t.Context(), object(resource, string(state), state), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.kube.CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.gone(t, ns)
}

// TestAControllerManagerWithOneAccount empties namespaces that go, and deletes nothing else that is in
// migration. The tombstone has a finalizer: it stays until the mover takes that off.
func TestAControllerManagerWithOneAccount(t *testing.T) {
	c := fenced(t)
	const ns = "held"
	c.namespace(t, ns)
	tombstone := object(configMaps, "x", v1alpha1.Migrated)
	tombstone.SetFinalizers([]string{"example.com/held"})
	if _, err := c.mover.Resource(configMaps).Namespace(ns).Create(t.Context(), tombstone, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	manager := c.as(t, "system:kube-controller-manager", "system:masters").Resource(configMaps).Namespace(ns)
	remove := func(ctx context.Context) error {
		return manager.Delete(ctx, "x", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
	}
	wantRefusal(t, "while the namespace stays", remove(t.Context()), "x is in migration")
	if err := c.kube.CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "while the namespace goes", remove)
	err := c.admin.Resource(configMaps).Namespace(ns).Delete(t.Context(), "x", metav1.DeleteOptions{})
	wantRefusal(t, "by somebody else, while the namespace goes", err)
	without := []byte(`{"metadata":{"finalizers":null}}`)
	_, err = manager.Patch(t.Context(), "x", types.MergePatchType, without, metav1.PatchOptions{})
	wantRefusal(t, "taking the finalizer off", err)
	if _, err := c.mover.Resource(configMaps).Namespace(ns).Patch(t.Context(), "x", types.MergePatchType, without, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.gone(t, ns)
}
