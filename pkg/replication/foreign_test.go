package replication_test

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/replication"
)

func TestAForeignNamespaceIsLeftAlone(t *testing.T) {
	rcp, cell := sides(t)
	makeNamespace(t, rcp, "foreign", nil)
	push(t, rcp, cell, namespace("foreign"))
	deleteNamespace(t, rcp, "foreign") // the cell does not hear of it
	makeNamespace(t, rcp, "foreign", nil)
	err := replication.Push(t.Context(), rcp.dyn, cell.asCell(), namespace("foreign"))
	if !errors.Is(err, replication.ErrForeign) {
		t.Errorf("push = %v; want ErrForeign", err)
	}
	got, err := cell.kube.CoreV1().Namespaces().Get(t.Context(), "foreign", metav1.GetOptions{})
	if err != nil || got.DeletionTimestamp != nil {
		t.Errorf("copy = %+v, %v; want it untouched: workloads hang from it", got, err)
	}
	// Nor does it go with the other one.
	if err := rcp.kube.CoreV1().Namespaces().Delete(t.Context(), "foreign", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := replication.Push(t.Context(), rcp.dyn, cell.asCell(), namespace("foreign")); !errors.Is(err, replication.ErrForeign) {
		t.Errorf("push of one that is deleted = %v; want ErrForeign", err)
	}
	got, err = cell.kube.CoreV1().Namespaces().Get(t.Context(), "foreign", metav1.GetOptions{})
	if err != nil || got.DeletionTimestamp != nil {
		t.Errorf("copy = %+v, %v; want it untouched", got, err)
	}
	// Nor once that is gone, whoever asks.
	patch(t, rcp, "foreign", `{"metadata":{"finalizers":null}}`)
	await(t, "the source to be gone", func(ctx context.Context) string {
		if _, err := rcp.kube.CoreV1().Namespaces().Get(ctx, "foreign", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return "it is there"
		}
		return ""
	})
	if err := replication.Push(t.Context(), rcp.dyn, cell.asCell(), namespace("foreign")); !errors.Is(err, replication.ErrForeign) {
		t.Errorf("push of one that is gone = %v; want ErrForeign", err)
	}
	got, err = cell.kube.CoreV1().Namespaces().Get(t.Context(), "foreign", metav1.GetOptions{})
	if err != nil || got.DeletionTimestamp != nil {
		t.Errorf("copy = %+v, %v; want it untouched", got, err)
	}
}

func TestAForeignRoleIsReplaced(t *testing.T) {
	rcp, cell := sides(t)
	makeRole(t, rcp, "foreign", "get")
	push(t, rcp, cell, clusterRole("foreign"))
	if err := rcp.kube.RbacV1().ClusterRoles().Delete(t.Context(), "foreign", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	makeRole(t, rcp, "foreign", "list")
	push(t, rcp, cell, clusterRole("foreign"))
	got, err := cell.kube.RbacV1().ClusterRoles().Get(t.Context(), "foreign", metav1.GetOptions{})
	if err != nil || got.Rules[0].Verbs[0] != "list" {
		t.Errorf("copy = %+v, %v; want the rules of the new source", got, err)
	}
}

// TestALostNamespaceIsAdopted by one that is made anew after a loss of the RCP, with all that is in it.
func TestALostNamespaceIsAdopted(t *testing.T) {
	rcp, cell := sides(t)
	lost := makeNamespace(t, rcp, "lost", nil)
	push(t, rcp, cell, namespace("lost"))
	before, err := cell.kube.CoreV1().Namespaces().Get(t.Context(), "lost", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	deleteNamespace(t, rcp, "lost")
	makeNamespace(t, rcp, "lost", map[string]string{"team": "a"})
	for _, adopts := range []string{"another", string(lost.UID)} {
		patch(t, rcp, "lost", `{"metadata":{"annotations":{"`+v1alpha1.AnnotationAdopts+`":"`+adopts+`"}}}`)
		err := replication.Push(t.Context(), rcp.dyn, cell.asCell(), namespace("lost"))
		if want := adopts != string(lost.UID); errors.Is(err, replication.ErrForeign) != want {
			t.Errorf("it adopts %s, which was %s: push = %v", adopts, lost.UID, err)
		}
	}
	after, err := cell.kube.CoreV1().Namespaces().Get(t.Context(), "lost", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after.UID != before.UID || after.DeletionTimestamp != nil || after.Labels["team"] != "a" {
		t.Errorf("copy = %+v; want the same one, adopted", after)
	}
	patch(t, rcp, "lost", `{"metadata":{"annotations":{"`+v1alpha1.AnnotationAdopts+`":null}}}`)
	push(t, rcp, cell, namespace("lost")) // it is its own copy now
}

func TestClear(t *testing.T) {
	rcp, cell := sides(t)
	for _, name := range []string{"cleared", "cleared-anew", "clear-kept"} {
		makeNamespace(t, rcp, name, nil)
		push(t, rcp, cell, namespace(name))
	}
	makeNamespace(t, cell, "clear-own", nil)
	deleteNamespace(t, rcp, "cleared")
	deleteNamespace(t, rcp, "cleared-anew")
	makeNamespace(t, rcp, "cleared-anew", nil)
	for _, again := range []bool{false, true} {
		n, err := replication.Clear(t.Context(), rcp.config, cell.config, "cell", emptyRing(t))
		if err != nil || !again && n < 2 {
			t.Errorf("again %t: %d cleared, error %v; want two at first", again, n, err)
		}
	}
	for name, goes := range map[string]bool{"cleared": true, "cleared-anew": true, "clear-kept": false, "clear-own": false} {
		copied, err := cell.kube.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		if gone := apierrors.IsNotFound(err) || err == nil && copied.DeletionTimestamp != nil; gone != goes {
			t.Errorf("namespace %s: going %t, error %v; want %t", name, gone, err, goes)
		}
	}
	push(t, rcp, cell, namespace("cleared-anew")) // waits for the old one to go
}
