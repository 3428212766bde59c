package rebalance_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestAFullQuotaMoves: what moves counts in two cells, and the quota has no room for that; it moves all the same, and
// afterwards still nothing more can be made.
func TestAFullQuotaMoves(t *testing.T) {
	b := newBed(t, member(1, 100), member(2, 100))
	before := b.fill(20)
	quotas := b.router.CoreV1().ResourceQuotas(b.namespace)
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "full"}}
	q.Spec.Hard = corev1.ResourceList{corev1.ResourceConfigMaps: resource.MustParse("21")} // with the root CA
	_, err := quotas.Create(t.Context(), q, metav1.CreateOptions{})
	b.must(err)
	b.full("full")
	b.refusesMore("before")

	b.want(member(2, 100), member(3, 100))
	d := b.driver("it")
	b.start(d, b.accepted(v1alpha1.RebalanceSpec{}).Run.Name)
	run := b.finish(d, v1alpha1.RebalanceSucceeded)
	moved := 0
	for _, is := range b.settled(before) {
		if is {
			moved++
		}
	}
	if p := rebalance.ProgressOf(&run.Status); moved == 0 || p.Failed != 0 {
		t.Errorf("%d moved; progress is %+v", moved, p)
	}
	b.full("full")
	b.refusesMore("after")
	q, err = quotas.Get(t.Context(), "full", metav1.GetOptions{})
	b.must(err)
	if used := q.Status.Used[corev1.ResourceConfigMaps]; used.String() != "21" {
		t.Errorf("used is %s with tombstones about; want 21", used.String())
	}
}

// full divides a quota until it is used up.
func (b *bed) full(name string) {
	b.t.Helper()
	sandboxtest.DivideQuota(b.t, b.rcp, b.configs, b.ring(), b.namespace, name)
}

// refusesMore tries a few names, so that some are for each cell.
func (b *bed) refusesMore(when string) {
	b.t.Helper()
	for _, name := range []string{"more-1", "more-2", "more-3", "more-4"} {
		_, err := b.router.CoreV1().ConfigMaps(b.namespace).Create(b.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if !apierrors.IsForbidden(err) {
			b.t.Errorf("%s: %s: %v; want it refused", when, name, err)
		}
	}
}
