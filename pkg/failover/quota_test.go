package failover_test

import (
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
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
	b.divided("full")
	b.dies("cell-1")
	run := b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	if len(run.Status.Kept) > 0 {
		t.Errorf("kept back: %+v", run.Status.Kept)
	}
	b.usable("cell-1", "1", ours...)
}

// divided divides a quota, as a backup daemon does, until each cell of the ring has the part that it uses.
func (b *bed) divided(name string) {
	b.t.Helper()
	snap, err := routing.FromRing(b.ring())
	b.must(err)
	rcp, err := dynamic.NewForConfig(b.rcp)
	b.must(err)
	q := replication.Quotas{RCP: rcp, Snapshot: snap, Client: func(cell string) (dynamic.Interface, error) {
		return dynamic.NewForConfig(b.configs[cell])
	}}
	o := replication.Object{Resource: corev1.SchemeGroupVersion.WithResource("resourcequotas"), Namespace: b.namespace, Name: name}
	b.await("each cell's part to be what it uses", func() bool {
		if _, err := q.Settle(b.t.Context(), o, nil); err != nil {
			return false // a cell's quota controller wrote at the same time
		}
		for _, cell := range b.cells {
			part, err := cell.CoreV1().ResourceQuotas(b.namespace).Get(b.t.Context(), name, metav1.GetOptions{})
			b.must(err)
			used, hard := part.Status.Used[corev1.ResourceConfigMaps], part.Status.Hard[corev1.ResourceConfigMaps]
			if used.Cmp(hard) != 0 || hard.Cmp(part.Spec.Hard[corev1.ResourceConfigMaps]) != 0 {
				return false
			}
		}
		return true
	})
}
