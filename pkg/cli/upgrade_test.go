package cli_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// TestAnUpgradePutsNoDrainedCellBack: an administrator types what docs/operations.md says about an upgrade, or a restore, while a
// cell waits for its removal. Its fence is renewed like any other's.
func TestAnUpgradePutsNoDrainedCellBack(t *testing.T) {
	b := newBed(t)
	before, err := b.client.Rings().Get(t.Context(), v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.writeRing(before); err != nil {
			t.Error(err)
		}
	})
	rcp := b.configs["rcp"]
	if _, err := federation.SetWeight(t.Context(), rcp, "cell-2", 250, federation.Options{}); err != nil {
		t.Fatal(err)
	}
	drained, err := federation.Drain(t.Context(), rcp, "cell-3", federation.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := fence.Remove(t.Context(), b.configs["cell-3"]); err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	environ := rehearsalEnvironment(t, work)
	if err := clientcmd.WriteToFile(*docsContexts(t, rcp), filepath.Join(work, "kubeconfig")); err != nil {
		t.Fatal(err)
	}
	played := 0
	for _, p := range shellBlocks(t, "operations.md") {
		if strings.Contains(p.text, "for cell in $(kubectl get cells.kubecell.io") {
			played++
			playScript(t, "operations.md", work, environ, p.text)
		}
	}
	if played != 1 {
		t.Fatalf("docs/operations.md adds all cells again in %d blocks; want one", played)
	}
	ring, err := b.client.Rings().Get(t.Context(), v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(drained.After.Spec.Members, ring.Spec.Members); diff != "" {
		t.Errorf("the wanted ring (-before the upgrade +after it):\n%s", diff)
	}
	if found, err := fence.Check(t.Context(), b.configs["cell-3"]); err != nil || found.State != fence.Live {
		t.Errorf("the fence of the drained cell: %s, %v; want it in force", found, err)
	}
}
