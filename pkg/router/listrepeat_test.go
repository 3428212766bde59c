package router_test

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// TestAListIsNotRepeatedByItsWatch makes objects anew whose tombstones are in the old cell, while others list and watch
// on from there: a list that had what was made after it would be told of it again.
func TestAListIsNotRepeatedByItsWatch(t *testing.T) {
	const names, lists = 60, 40
	b := newMovingBed(t)
	ns := b.namespace(t, "repeats")
	for i := range names {
		b.lay(t, "cell-1", ns, fmt.Sprintf("x-%02d", i), "migrated")
	}
	making, stop := context.WithCancel(t.Context())
	made := make(chan struct{})
	go func() { // ends with making
		defer close(made)
		now := kube(t, fence.AsMover(b.cells["cell-2"])).CoreV1().ConfigMaps(ns)
		for n := 0; making.Err() == nil; n++ {
			name := fmt.Sprintf("x-%02d", n%names)
			_, _ = now.Create(making, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			_ = now.Delete(making, fmt.Sprintf("x-%02d", (n+names/2)%names), metav1.DeleteOptions{})
		}
	}()
	defer func() { stop(); <-made }()
	maps, seen := kube(t, b.router).CoreV1().ConfigMaps(ns), 0
	for range lists {
		list, err := maps.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		versions := map[string]string{}
		for _, o := range list.Items {
			versions[o.Name] = o.ResourceVersion
		}
		w, err := maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		for range names {
			e := <-w.ResultChan()
			o, ok := e.Object.(*corev1.ConfigMap)
			if !ok {
				t.Fatalf("the watch says %+v", e)
			}
			if seen++; e.Type != watch.Deleted && versions[o.Name] == o.ResourceVersion {
				t.Errorf("%s of %s in version %s, which the list has", e.Type, o.Name, o.ResourceVersion)
			}
		}
		w.Stop()
	}
	if seen == 0 {
		t.Error("nothing was told")
	}
}
