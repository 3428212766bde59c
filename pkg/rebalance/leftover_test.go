package rebalance_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// awaitMade makes a config map through the router as soon as that does not refuse it.
func (b *bed) awaitMade(name string) {
	b.t.Helper()
	b.await(name+" to be made anew", func() bool {
		_, err := b.router.CoreV1().ConfigMaps(b.namespace).Create(b.t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"of": name},
		}, metav1.CreateOptions{})
		return err == nil
	})
}

// leave makes what an earlier driver leaves that took a unit back whose object was deleted then, and died before it had removed
// the copy. It returns the object's name.
func (b *bed) leave(unit migration.Unit) string {
	b.t.Helper()
	object := unit.Objects[0].Name
	b.must(b.cells[unit.From].CoreV1().ConfigMaps(b.namespace).Delete(b.t.Context(), object, metav1.DeleteOptions{}))
	_, err := kubeOf(b.t, fence.AsMover(b.configs[unit.To])).CoreV1().ConfigMaps(b.namespace).Create(b.t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: object, Labels: map[string]string{v1alpha1.LabelRebalanceStatus: string(v1alpha1.Incoming)},
			Annotations: map[string]string{v1alpha1.AnnotationFromCell: unit.From},
		},
	}, metav1.CreateOptions{})
	b.must(err)
	return object
}

// TestWhatIsLeftOfADeletedObjectDoesNotKeepItsName behind a silent router, nor between cells that answer while another one is
// down.
func TestWhatIsLeftOfADeletedObjectDoesNotKeepItsName(t *testing.T) {
	for name, hinder := range map[string]func(b *bed, d *driving) (help func()){
		"behind a silent router": func(b *bed, _ *driving) func() { return b.silentRouter() },
		"between cells that answer while another one is down": func(_ *bed, d *driving) func() {
			var down atomic.Bool
			down.Store(true)
			d.WrapCell = breakable(d.WrapCell, "cell-3", &down)
			return func() { down.Store(false) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, member(1, 100))
			b.want(member(1, 100), member(2, 100), member(3, 100))
			before := b.fillWays(map[string]int{"cell-2": 4})
			started := b.accepted(v1alpha1.RebalanceSpec{Window: 1})
			b.killAt(started.Run.Name, string(migration.Marked))
			b.forgetLease()
			object := b.leave(started.Units[len(started.Units)-1])
			d := b.driver("second")
			help := hinder(b, d)
			b.start(d, started.Run.Name)
			b.awaitMade(object)
			help()
			b.finish(d, v1alpha1.RebalanceSucceeded)
			b.settled(before)
		})
	}
}

// TestWhatIsLeftOfADeletedObjectDoesNotKeepItsNameWhileTheRunRests has an earlier driver leave a copy.
func TestWhatIsLeftOfADeletedObjectDoesNotKeepItsNameWhileTheRunRests(t *testing.T) {
	b, before := growing(t, 40)
	units := b.plan(nil)
	b.label(units[3:5], "part", "first")
	name := b.accepted(v1alpha1.RebalanceSpec{Limit: &v1alpha1.RebalanceLimit{Selector: "part=first"}}).Run.Name
	object := b.leave(units[10])
	d := b.driver("it")
	b.start(d, name)
	b.awaitRest(name, 2)
	b.awaitMade(object)
	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}))
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}

// dies lets a cell take one copy, and no request after it, nor tell of it, until it is up again.
func dies(before func(string, *rest.Config), cell string, down *atomic.Bool, died chan<- struct{}) func(string, *rest.Config) {
	var once atomic.Bool
	return breaking(before, cell, down, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		copies := r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/configmaps") && !r.URL.Query().Has("dryRun")
		if err != nil || !copies || !once.CompareAndSwap(false, true) {
			return response, err
		}
		down.Store(true)
		_ = response.Body.Close()
		close(died)
		return nil, errors.New("connection reset")
	})
}

// TestWhatIsLeftOfADeletedObjectDoesNotKeepItsNameWhileTheRunIsPaused has a cell die with a copy, and the object be deleted
// before the cell is back.
func TestWhatIsLeftOfADeletedObjectDoesNotKeepItsNameWhileTheRunIsPaused(t *testing.T) {
	b, before := growing(t, few)
	name := b.accepted(v1alpha1.RebalanceSpec{Window: 1}).Run.Name
	d := b.driver("it")
	var down atomic.Bool
	died := make(chan struct{})
	d.WrapCell = dies(d.WrapCell, "cell-3", &down, died)
	b.start(d, name)
	<-died
	b.must(rebalance.Pause(t.Context(), b.client, name))
	b.awaitPaused(name)
	var left string
	for object, cells := range b.copies() {
		if cm := cells["cell-3"]; cm != nil && cm.Labels[v1alpha1.LabelRebalanceStatus] == string(v1alpha1.Incoming) {
			left = object
		}
	}
	if left == "" {
		t.Fatal("no copy was left")
	}
	b.must(b.router.CoreV1().ConfigMaps(b.namespace).Delete(t.Context(), left, metav1.DeleteOptions{}))
	down.Store(false)
	b.awaitMade(left)
	if phase := b.rebalance(name).Status.Phase; phase != v1alpha1.RebalancePaused {
		t.Errorf("the run is %s; want Paused", phase)
	}
	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}))
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}
