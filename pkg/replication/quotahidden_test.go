package replication

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// TestWhatACellMakesForItselfIsHidden where another cell shows it: the Endpoints of the apiserver's own Service where that
// shows the Service, whatever the rule of its key.
func TestWhatACellMakesForItselfIsHidden(t *testing.T) {
	layout := &v1alpha1.RingLayout{PointsPerWeight: 100, Resources: []v1alpha1.ResourceRule{{Resource: "services", Class: "Sharded", Key: "Name"}}}
	for _, cell := range []string{"cell-1", "cell-2", "cell-3"} {
		layout.Members = append(layout.Members, v1alpha1.RingMember{Cell: cell, Weight: 100})
	}
	snap, err := routing.FromRing(&v1alpha1.Ring{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RingName}, Status: v1alpha1.RingStatus{Epoch: 1, Current: layout},
	})
	if err != nil {
		t.Fatal(err)
	}
	home, _ := snap.Table.Lookup(placement.Name, "default", "kubernetes")
	elsewhere, _ := snap.Table.Lookup(placement.NamespacedName, "default", "kubernetes")
	if home.Old() == elsewhere.Old() {
		t.Fatal("both rules say the same cell")
	}
	one := resource.MustParse("1")
	own := corev1.ResourceList{corev1.ResourceServices: one, "count/endpoints": one, "count/endpointslices.discovery.k8s.io": one}
	all := own.DeepCopy()
	all[corev1.ResourcePods] = one
	for _, member := range layout.Members {
		for namespace, hidden := range map[string]corev1.ResourceList{"default": own, "ns": {}} {
			if member.Cell == home.Old() {
				hidden = corev1.ResourceList{}
			}
			s := &settling{q: Quotas{Snapshot: snap}, o: Object{Namespace: namespace, Name: "q"}, divided: all}
			if diff := cmp.Diff(hidden, s.selfMade(member.Cell)); diff != "" {
				t.Errorf("in %s of %s (-want +got): %s", namespace, member.Cell, diff)
			}
		}
	}
}
