package router_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// bothCells makes the ring stable with both cells of the moving bed in it.
func (b *bed) bothCells(t *testing.T) {
	t.Helper()
	b.awaitAcknowledged(t, b.editRing(t, func(s *v1alpha1.RingStatus) {
		s.Epoch++
		s.Phase, s.Target = v1alpha1.RingStable, nil
		s.Current = &v1alpha1.RingLayout{PointsPerWeight: 10, Members: []v1alpha1.RingMember{
			{Cell: "cell-1", Weight: 100}, {Cell: "cell-2", Weight: 100},
		}}
	}), 1)
}

// TestAResumedWatchLearnsWhatWasDeletedBeforeItsTurn: a client was away while an object was deleted in the cell that its key
// moved from, and comes back when the ring has forgotten that it was there.
func TestAResumedWatchLearnsWhatWasDeletedBeforeItsTurn(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "departed")
	b.bothCells(t)
	snap := b.snapshot(t)
	var names []string // whose keys are to be in cell-2
	for i := 0; len(names) < 2; i++ {
		name := fmt.Sprint("x-", i)
		if p, _ := snap.Table.LookupKey(ns + "/" + name); p.Old() == "cell-2" {
			names = append(names, name)
		}
	}
	deleted, moved := names[0], names[1]
	b.phase(t, v1alpha1.RingRebalancing)
	b.lay(t, "cell-1", ns, deleted, "plain")
	b.lay(t, "cell-1", ns, moved, "plain")
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	list, err := maps.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.lay(t, "cell-2", ns, moved, "plain")
	for _, name := range names {
		if err := kube(t, fence.AsMover(b.cells["cell-1"])).CoreV1().ConfigMaps(ns).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	b.bothCells(t)
	w, err := maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion, TimeoutSeconds: new(int64(15))})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	gone := 0
	for e := range w.ResultChan() {
		o, ok := e.Object.(*corev1.ConfigMap)
		if !ok {
			t.Fatalf("the watch ended: %v", e.Object)
		}
		if e.Type == watch.Deleted && o.Name == deleted {
			gone++
		}
		if e.Type == watch.Deleted && o.Name == moved {
			t.Errorf("DELETED of %s, which exists", moved)
		}
	}
	if gone != 1 {
		t.Errorf("DELETED of %s came %d times; want once, though it counts in another cell now", deleted, gone)
	}

	b.phase(t, v1alpha1.RingStable) // cell-1 has left
	w, err = maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if e := <-w.ResultChan(); e.Type != watch.Error || !apierrors.IsResourceExpired(apierrors.FromObject(e.Object)) {
		t.Errorf("a watch from before a cell left begins with %s %v; want 410", e.Type, e.Object)
	}
}
