package sandboxtest_test

import (
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

func TestControlPlanesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, config := range sandboxtest.ControlPlanes(t, 2) {
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		ns, err := client.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		seen[string(ns.UID)] = true
	}
	if len(seen) != 2 {
		t.Errorf("two control planes share the UID of kube-system: %v", seen)
	}
}

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }
