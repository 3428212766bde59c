package router_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

// astride is the version of a list that reads cell-1 as one list has it and cell-2 as a later one has it.
func (b *bed) astride(t *testing.T, earlier, later *corev1.ConfigMapList) string {
	t.Helper()
	slot, ok := route.Slot("cell-2", b.snapshot(t))
	from, err := version.Parse(earlier.ResourceVersion)
	to, toErr := version.Parse(later.ResourceVersion)
	if !ok || err != nil || toErr != nil || from.Vector == nil || to.Vector == nil {
		t.Fatalf("lists at %s (%v) and %s (%v)", earlier.ResourceVersion, err, later.ResourceVersion, toErr)
	}
	from.Vector.Set(slot, to.Vector.Raw(slot))
	return from.Vector.String()
}

func listOf(t *testing.T, maps typedcorev1.ConfigMapInterface, options metav1.ListOptions) *corev1.ConfigMapList {
	t.Helper()
	list, err := maps.List(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestAWatchStaysAheadOfAListThatMovesWereReadIn: a list may read the one cell before an object moves, and the other one
// when it has arrived. What the old cell then tells of the move is older than what the list has.
func TestAWatchStaysAheadOfAListThatMovesWereReadIn(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "astride")
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	there := kube(t, fence.AsMover(b.cells["cell-2"])).CoreV1().ConfigMaps(ns)
	for _, name := range []string{"moved", "anew", "marked", "stays"} {
		b.lay(t, "cell-1", ns, name, "plain")
	}
	earlier := listOf(t, maps, metav1.ListOptions{})
	b.touch(t, "cell-1", ns, "moved")
	b.moveByHand(t.Context(), t, ns, "moved")
	if err := kube(t, b.cells["cell-1"]).CoreV1().ConfigMaps(ns).Delete(t.Context(), "anew", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	anew := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "anew", Annotations: map[string]string{v1alpha1.AnnotationPlacementEpoch: "2"}}}
	if _, err := there.Create(t.Context(), anew, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	later := listOf(t, maps, metav1.ListOptions{})
	b.touch(t, "cell-1", ns, "stays")
	b.patch(t, "cell-1", ns, "marked", fmt.Sprintf(`{"metadata":{"labels":{%q:"migrating"}}}`, v1alpha1.LabelRebalanceStatus))

	for _, at := range []metav1.ListOptions{{}, {FieldSelector: "metadata.name!=nothing"}, {LabelSelector: "!nothing"}, {FieldSelector: "metadata.name=moved"}} {
		at.ResourceVersion = b.astride(t, earlier, later)
		w, err := maps.Watch(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		newest := map[string]string{"moved": b.touch(t, "cell-2", ns, "moved")}
		if at.FieldSelector != "metadata.name=moved" {
			newest["anew"] = b.touch(t, "cell-2", ns, "anew")
			for _, name := range []string{"marked", "stays"} {
				newest[name] = b.touch(t, "cell-1", ns, name)
			}
		}
		known := map[string]string{}
		for _, o := range later.Items {
			known[o.Name] = o.ResourceVersion
		}
		for len(newest) > 0 {
			e := <-w.ResultChan()
			o, ok := e.Object.(*corev1.ConfigMap)
			if !ok {
				t.Fatalf("the watch of %+v ended: %v", at, e.Object)
			}
			if moves := o.Name == "moved" || o.Name == "anew"; moves && (e.Type == watch.Deleted || !less(known[o.Name], o.ResourceVersion)) {
				t.Errorf("a watch of %+v tells %s of %s version %s after %s", at, e.Type, o.Name, o.ResourceVersion, known[o.Name])
			}
			if o.Data["touched"] == newest[o.Name] {
				delete(newest, o.Name)
			}
		}
		w.Stop()
	}
}

// touch changes an object, and returns with what.
func (b *bed) touch(t *testing.T, cell, ns, name string) string {
	t.Helper()
	return b.patch(t, cell, ns, name, fmt.Sprintf(`{"data":{"touched":%q}}`, metav1.Now().Format("15:04:05.000000000"))).Data["touched"]
}

func (b *bed) patch(t *testing.T, cell, ns, name, patch string) *corev1.ConfigMap {
	t.Helper()
	maps := kube(t, fence.AsMover(b.cells[cell])).CoreV1().ConfigMaps(ns)
	o, err := maps.Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestAWatchKeepsNothingThatWasDeletedWhereItHadMoved: a list reads the one cell before an object moves, and the other one
// after it was deleted there. No cell tells a watch from there of that.
func TestAWatchKeepsNothingThatWasDeletedWhereItHadMoved(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "astride-deleted")
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	b.lay(t, "cell-1", ns, "x", "plain")
	b.lay(t, "cell-1", ns, "y", "plain")
	earlier := listOf(t, maps, metav1.ListOptions{})
	b.patch(t, "cell-1", ns, "x", fmt.Sprintf(`{"metadata":{"labels":{%q:"migrating"}}}`, v1alpha1.LabelRebalanceStatus))
	marked := listOf(t, maps, metav1.ListOptions{})
	b.moveByHand(t.Context(), t, ns, "x")
	if err := kube(t, b.cells["cell-2"]).CoreV1().ConfigMaps(ns).Delete(t.Context(), "x", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	later := listOf(t, maps, metav1.ListOptions{})
	for what, first := range map[string]*corev1.ConfigMapList{"before": earlier, "in the middle": marked} {
		w, err := maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: b.astride(t, first, later), TimeoutSeconds: new(int64(120))})
		if err != nil {
			t.Fatal(err)
		}
		ended := false
		for e := range w.ResultChan() {
			o, ok := e.Object.(*corev1.ConfigMap)
			if !ok {
				ended = e.Type == watch.Error && apierrors.IsResourceExpired(apierrors.FromObject(e.Object))
				break
			}
			if e.Type == watch.Deleted || o.Name == "x" && o.Labels[v1alpha1.LabelRebalanceStatus] == string(v1alpha1.Migrated) {
				t.Errorf("from %s: %s of %s with labels %v", what, e.Type, o.Name, o.Labels)
			}
		}
		w.Stop()
		if !ended {
			t.Errorf("from %s: the watch does not end with 410", what)
		}
	}
	// From behind the move there is nothing to find out.
	w, err := maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: later.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	b.touch(t, "cell-1", ns, "y")
	if e := <-w.ResultChan(); e.Type != watch.Modified {
		t.Errorf("a watch from the list begins with %s %v", e.Type, e.Object)
	}
}
