package failover_test

import (
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestAFullQuotaKeepsNothingBack: the cells that take over have parts of a quota that are as large as what they used.
func TestAFullQuotaKeepsNothingBack(t *testing.T) {
	b := newBed(t)
	ours, others := b.fill(8)
	b.backUp(ours...)
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "full"}}
	all := strconv.Itoa(len(ours) + len(others) + 1) // with the root CA
	q.Spec.Hard = corev1.ResourceList{corev1.ResourceConfigMaps: resource.MustParse(all)}
	_, err := b.router.CoreV1().ResourceQuotas(b.namespace).Create(t.Context(), q, metav1.CreateOptions{})
	b.must(err)
	sandboxtest.DivideQuota(t, b.rcp, b.configs, b.ring(), b.namespace, q.Name)
	b.dies("cell-1")
	run := b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	if len(run.Status.Kept) > 0 {
		t.Errorf("kept back: %+v", run.Status.Kept)
	}
	b.usable("cell-1", "1", ours...)
}
