package router_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

func evictionOf(name string, options *metav1.DeleteOptions) *policyv1.Eviction {
	return &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name}, DeleteOptions: options}
}

// layPod puts a pod into a cell, in the state of a move; "absent" lays nothing. The UID is "" then.
func (b *bed) layPod(t *testing.T, cell, ns, name, state string) (uid types.UID) {
	t.Helper()
	if state == "absent" {
		return ""
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "registry.example/c:1"}}},
	}
	if state != "plain" {
		pod.Labels = map[string]string{v1alpha1.LabelRebalanceStatus: state}
	}
	until(t, "the pod is made", func(ctx context.Context) bool {
		made, err := kube(t, fence.AsMover(b.cells[cell])).CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil && !apierrors.IsForbidden(err) { // until the cell has made the default service account
			t.Fatal(err)
		}
		uid = made.GetUID()
		return err == nil
	})
	return uid
}

// podsIn are the cells that have a pod of that name.
func (b *bed) podsIn(t *testing.T, ns, name string) (cells []string) {
	t.Helper()
	for _, cell := range []string{"cell-1", "cell-2"} {
		_, err := kube(t, b.cells[cell]).CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		if err == nil {
			cells = append(cells, cell)
		}
	}
	return cells
}

// TestAnEvictionGoesWhereItsPodIs, which moves: it is a deletion, of what counts alone.
func TestAnEvictionGoesWhereItsPodIs(t *testing.T) {
	var admin string
	b := newMovingBed(t, withAdminPort(&admin))
	ns := b.namespace(t, "evictions")
	dry := []string{metav1.DryRunAll}
	tries := map[string]func(name string, uid types.UID) *metav1.DeleteOptions{
		"without": func(string, types.UID) *metav1.DeleteOptions { return nil },
		"right": func(_ string, uid types.UID) *metav1.DeleteOptions {
			return metav1.NewPreconditionDeleteOptions(string(uid))
		},
		"wrong": func(string, types.UID) *metav1.DeleteOptions { return metav1.NewPreconditionDeleteOptions("another") },
		"dry":   func(string, types.UID) *metav1.DeleteOptions { return &metav1.DeleteOptions{DryRun: dry} },
	}
	gone, phase := map[string]bool{}, v1alpha1.RingRebalancing
	for i, test := range []struct {
		phase    v1alpha1.RingPhase
		old, now string
		cell     string // in which it is evicted, "" for none
		refusal  string
	}{
		{v1alpha1.RingRebalancing, "plain", "absent", "cell-1", ""},
		{v1alpha1.RingRebalancing, "migrating", "incoming", "", "429"},
		{v1alpha1.RingRebalancing, "migrated", "incoming", "", "429"},
		{v1alpha1.RingRebalancing, "migrated", "plain", "cell-2", ""},
		{v1alpha1.RingRebalancing, "absent", "plain", "cell-2", ""},
		{v1alpha1.RingRebalancing, "absent", "migrated", "", "404"},
		{v1alpha1.RingPreparing, "plain", "absent", "cell-1", ""},
		{v1alpha1.RingPreparing, "absent", "plain", "cell-2", ""},
		{v1alpha1.RingStable, "absent", "plain", "cell-2", ""},
		{v1alpha1.RingStable, "absent", "migrated", "", "404"},
		{v1alpha1.RingStable, "absent", "incoming", "", "404"},
		{v1alpha1.RingStable, "absent", "migrating", "", "429"},
	} {
		if test.phase != phase {
			phase = test.phase
			b.phase(t, phase)
		}
		for how, options := range tries {
			name := fmt.Sprintf("x-%d-%s", i, how)
			uids := map[string]types.UID{"cell-1": b.layPod(t, "cell-1", ns, name, test.old), "cell-2": b.layPod(t, "cell-2", ns, name, test.now)}
			before := b.podsIn(t, ns, name)
			config := impatient(b.router)
			if i%2 == 1 {
				config.ContentType = runtime.ContentTypeProtobuf
			}
			err := kube(t, config).CoreV1().Pods(ns).EvictV1(t.Context(), evictionOf(name, options(name, uids[test.cell])))
			want, after := test.refusal, before
			switch {
			case test.refusal != "":
			case how == "wrong":
				want = "conflict"
			case how == "dry":
				want = "ok"
			default:
				want, after = "ok", without(before, test.cell)
				gone[string(uids[test.cell])] = true
			}
			if got := said(&corev1.ConfigMap{}, err); got != want {
				t.Errorf("%s: %s in the old cell and %s in the new one: eviction, %s, is answered with %s; want %s", phase, test.old, test.now, how, got, want)
			}
			if diff := cmp.Diff(after, b.podsIn(t, ns, name)); diff != "" {
				t.Errorf("%s: %s in the old cell and %s in the new one: eviction, %s, leaves (-want +got):\n%s", phase, test.old, test.now, how, diff)
			}
		}
	}
	b.wantGone(t, admin, ns, gone)
}

// without are the cells but one.
func without(cells []string, one string) (out []string) {
	for _, cell := range cells {
		if cell != one {
			out = append(out, cell)
		}
	}
	return out
}

// wantGone compares the ledgers, in which there is nothing else of the namespace, with the UIDs of what is gone.
func (b *bed) wantGone(t *testing.T, admin, ns string, want map[string]bool) {
	t.Helper()
	got := map[string]bool{}
	for _, e := range b.accounts(t, admin, ns) {
		got[e.UID] = e.Gone
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

// TestARawEvictionIsADeletionInTheLedger, and a dry run is none.
func TestARawEvictionIsADeletionInTheLedger(t *testing.T) {
	var admin string
	b := newMovingBed(t, withAdminPort(&admin))
	ns := b.namespace(t, "raw-evictions")
	raw := rest.CopyConfig(b.router)
	raw.Host += "/cells/cell-1"
	gone := map[string]bool{}
	for name, options := range map[string]*metav1.DeleteOptions{"x": nil, "tried": {DryRun: []string{metav1.DryRunAll}}} {
		uid := b.layPod(t, "cell-1", ns, name, "plain")
		if err := kube(t, raw).CoreV1().Pods(ns).EvictV1(t.Context(), evictionOf(name, options)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if options == nil {
			gone[string(uid)] = true
		}
	}
	b.wantGone(t, admin, ns, gone)
}

// TestAnEvictionOfAPodThatHasToBeFound: pods are Local, if nothing else is said.
func TestAnEvictionOfAPodThatHasToBeFound(t *testing.T) {
	b := newBed(t)
	pod := b.podOn(t, newKubelet(t), b.namespace(t, "found-evictions"))
	pods := kube(t, impatient(b.router)).CoreV1().Pods(pod.Namespace)
	never, now := "1", pod.ResourceVersion
	for _, try := range []struct {
		name    string
		options *metav1.DeleteOptions
		refused bool
		evicted bool
	}{
		{"of another pod", metav1.NewPreconditionDeleteOptions("another"), true, false},
		{"in another version", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &never}}, true, false},
		{"as a dry run", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID, ResourceVersion: &now}, DryRun: []string{metav1.DryRunAll}}, false, false},
		{"for certain", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID, ResourceVersion: &now}}, false, true},
	} {
		err := pods.EvictV1(t.Context(), evictionOf(pod.Name, try.options))
		if apierrors.IsConflict(err) != try.refused || err != nil && !try.refused {
			t.Errorf("eviction %s: %v; want a conflict: %v", try.name, err, try.refused)
		}
		left, err := pods.Get(t.Context(), pod.Name, metav1.GetOptions{})
		if err != nil || (left.DeletionTimestamp != nil) != try.evicted {
			t.Errorf("after the eviction %s: deleted at %v, %v", try.name, left.DeletionTimestamp, err)
		}
	}
}
