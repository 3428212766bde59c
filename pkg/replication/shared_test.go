package replication_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/replication"
)

// TestASharedReadIsOfWhatWasAskedFor: objects of one name, in two namespaces and in none, are told apart, by any number that
// ask at once.
func TestASharedReadIsOfWhatWasAskedFor(t *testing.T) {
	rcp, _ := sides(t)
	const name = "shared"
	secrets := corev1.SchemeGroupVersion.WithResource("secrets")
	shared := replication.Sharing(t.Context(), rcp.dyn)
	asked := map[string]dynamic.ResourceInterface{string(makeNamespace(t, rcp, name, nil).UID): shared.Resource(namespace(name).Resource)}
	asked[string(makeRole(t, rcp, name).UID)] = shared.Resource(clusterRole(name).Resource)
	for _, in := range []string{"shared-a", "shared-b"} {
		makeNamespace(t, rcp, in, nil)
		made, err := rcp.kube.CoreV1().Secrets(in).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		asked[string(made.UID)] = shared.Resource(secrets).Namespace(in)
	}
	var group sync.WaitGroup
	for want, resource := range asked {
		for range 8 {
			group.Go(func() {
				obj, err := resource.Get(t.Context(), name, metav1.GetOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				if got := string(obj.GetUID()); got != want {
					t.Errorf("read the %s %s/%s of UID %s, want %s", obj.GetKind(), obj.GetNamespace(), obj.GetName(), got, want)
				}
			})
		}
	}
	group.Wait()
}

// TestASharedReadOutlivesWhoAsked: it ends with the pushes, and not with one of them.
func TestASharedReadOutlivesWhoAsked(t *testing.T) {
	rcp, _ := sides(t)
	makeNamespace(t, rcp, "shared-ends", nil)
	pushes, end := context.WithCancel(t.Context())
	namespaces := replication.Sharing(pushes, rcp.dyn).Resource(namespace("").Resource)
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := namespaces.Get(gone, "shared-ends", metav1.GetOptions{}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("who has left reads %v", err)
	}
	if _, err := namespaces.Get(t.Context(), "shared-ends", metav1.GetOptions{}); err != nil {
		t.Errorf("who stays reads %v", err)
	}
	end()
	if _, err := namespaces.Get(t.Context(), "shared-ends", metav1.GetOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("when the pushes have ended, Get = %v, want their end", err)
	}
}
