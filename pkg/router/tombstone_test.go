package router_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// TestATombstoneIsNoConflict: who writes what he knew, and what is gone, is told so, whatever lies in its place.
func TestATombstoneIsNoConflict(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "tombstones")
	b.phase(t, v1alpha1.RingStable)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	update := func(known metav1.Object, annotations map[string]string) error {
		object, err := maps.Get(t.Context(), "other", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		object.Name, object.UID, object.ResourceVersion = known.GetName(), known.GetUID(), known.GetResourceVersion()
		object.Annotations = annotations
		_, err = maps.Update(t.Context(), object, metav1.UpdateOptions{})
		return err
	}
	b.lay(t, "cell-2", ns, "other", "plain")
	for name, write := range map[string]func(known metav1.Object) error{
		"update": func(known metav1.Object) error { return update(known, nil) },
		// It was made while its key moved.
		"update-marked": func(known metav1.Object) error { return update(known, map[string]string{epochMark: "5"}) },
		"patch-marked": func(known metav1.Object) error {
			_, err := maps.Patch(t.Context(), known.GetName(), types.MergePatchType,
				[]byte(`{"metadata":{"annotations":{"`+epochMark+`":"5"}}}`), metav1.PatchOptions{})
			return err
		},
		"patch": func(known metav1.Object) error {
			_, err := maps.Patch(t.Context(), known.GetName(), types.MergePatchType,
				[]byte(`{"metadata":{"resourceVersion":"`+known.GetResourceVersion()+`"},"data":{"a":"b"}}`), metav1.PatchOptions{})
			return err
		},
		"delete": func(known metav1.Object) error {
			uid := known.GetUID()
			return maps.Delete(t.Context(), known.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b.lay(t, "cell-2", ns, name, "plain")
			known, err := maps.Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			b.lay(t, "cell-2", ns, name, "migrated")
			if err := write(known); !apierrors.IsNotFound(err) {
				t.Errorf("%v; want that it is not found", err)
			}
		})
	}
}

// TestATombstoneThatIsBuriedMeanwhileIsNoConflict has tombstones buried at the moment in which something is written in
// their place.
func TestATombstoneThatIsBuriedMeanwhileIsNoConflict(t *testing.T) {
	const tries = 150
	b := newMovingBed(t)
	ns := b.namespace(t, "buried")
	b.phase(t, v1alpha1.RingStable)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	b.lay(t, "cell-2", ns, "known", "plain")
	known, err := maps.Get(t.Context(), "known", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mover := kube(t, fence.AsMover(b.cells["cell-2"])).CoreV1().ConfigMaps(ns)
	for n := range tries {
		object := known.DeepCopy()
		object.Name, object.UID = fmt.Sprintf("x-%d", n), ""
		b.lay(t, "cell-2", ns, object.Name, "migrated")
		buried := make(chan error, 1)
		time.AfterFunc(time.Duration(n)*40*time.Microsecond, func() {
			buried <- mover.Delete(t.Context(), object.Name, metav1.DeleteOptions{})
		})
		if _, err := maps.Update(t.Context(), object, metav1.UpdateOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("buried %d times 40 µs after it was sent: %v; want that it is not found", n, err)
		}
		if err := <-buried; err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
}

// TestACopyThatNobodyOwnsMakesRoom, whatever finalizers it has, and also where somebody has begun to delete it.
func TestACopyThatNobodyOwnsMakesRoom(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "leftovers")
	b.phase(t, v1alpha1.RingStable)
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	mover := kube(t, fence.AsMover(b.cells["cell-2"])).CoreV1().ConfigMaps(ns)
	for name, deleted := range map[string]bool{"left": false, "deleted": true} {
		b.lay(t, "cell-2", ns, name, "incoming")
		held := []byte(`{"metadata":{"finalizers":["example.com/held"]}}`)
		if _, err := mover.Patch(t.Context(), name, types.MergePatchType, held, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		if deleted {
			if err := mover.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		made, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil || len(made.Finalizers) > 0 {
			t.Errorf("%s: made %v, error %v", name, made.ObjectMeta, err)
		}
	}
}
