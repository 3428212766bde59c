package router_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// TestAWatchFromAListRepeatsNothingThatMoved lists, and watches from there, while objects move all the time: no event
// tells of a version that the list, or an earlier event, had shown already.
func TestAWatchFromAListRepeatsNothingThatMoved(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "movelist")
	const objects, lists = 150, 40
	for i := range objects {
		b.lay(t, "cell-1", ns, fmt.Sprintf("x-%03d", i), "plain")
	}
	ctx, stop := context.WithCancel(t.Context())
	var moving sync.WaitGroup
	defer moving.Wait()
	defer stop()
	moving.Go(func() {
		for i := 0; i < objects && ctx.Err() == nil; i++ {
			b.moveByHand(ctx, t, ns, fmt.Sprintf("x-%03d", i))
		}
	})
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	for range lists {
		list, err := maps.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		newest := map[string]string{}
		for _, o := range list.Items {
			newest[o.Name] = o.ResourceVersion
		}
		w, err := maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		enough := time.After(100 * time.Millisecond) // how long each watch is looked at
		for open := true; open; {
			select {
			case e := <-w.ResultChan():
				o, ok := e.Object.(*corev1.ConfigMap)
				if !ok {
					t.Fatalf("the watch ended: %v", e)
				}
				if !less(newest[o.Name], o.ResourceVersion) {
					t.Errorf("%s %s version %s after %s", e.Type, o.Name, o.ResourceVersion, newest[o.Name])
				}
				newest[o.Name] = o.ResourceVersion
			case <-enough:
				open = false
			}
		}
		w.Stop()
	}
}

// moveByHand takes an object through all steps of a move.
func (b *bed) moveByHand(ctx context.Context, t *testing.T, ns, name string) {
	patch := func(cell, format string, args ...any) {
		maps := kube(t, fence.AsMover(b.cells[cell])).CoreV1().ConfigMaps(ns)
		_, err := maps.Patch(ctx, name, types.MergePatchType, fmt.Appendf(nil, format, args...), metav1.PatchOptions{})
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}
	const labelled = `{"metadata":{"labels":{"` + v1alpha1.LabelRebalanceStatus + `":%q}}}`
	patch("cell-1", labelled, "migrating")
	copied := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{v1alpha1.LabelRebalanceStatus: "incoming"},
			Annotations: map[string]string{v1alpha1.AnnotationPlacementEpoch: "2"},
		},
		Data: map[string]string{"in": "cell-2"},
	}
	_, err := kube(t, fence.AsMover(b.cells["cell-2"])).CoreV1().ConfigMaps(ns).Create(ctx, copied, metav1.CreateOptions{})
	if err != nil && ctx.Err() == nil {
		t.Error(err)
	}
	patch("cell-1", labelled, "migrated")
	patch("cell-2", `{"metadata":{"labels":{%q:null}}}`, v1alpha1.LabelRebalanceStatus)
}
