package router

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// TestWhatDoesNotMoveIsStillWhereItWasListed: an object without a place may be in any cell, one with a place in those of
// its key.
func TestWhatDoesNotMoveIsStillWhereItWasListed(t *testing.T) {
	layout := func(cells ...string) *v1alpha1.RingLayout {
		l := &v1alpha1.RingLayout{PointsPerWeight: 10}
		for _, cell := range cells {
			l.Members = append(l.Members, v1alpha1.RingMember{Cell: cell, Weight: 100})
		}
		return l
	}
	for _, test := range []struct {
		resource        string
		current, target []string
		in1, in2        bool
	}{
		{"configmaps", []string{"cell-1"}, nil, true, false},
		{"configmaps", []string{"cell-1"}, []string{"cell-2"}, true, true},
		{"configmaps", []string{"cell-2"}, nil, false, true},
		{"events", []string{"cell-1"}, []string{"cell-2"}, true, true},
		{"events", []string{"cell-1", "cell-2"}, nil, true, true},
		{"pods", []string{"cell-2", "cell-1"}, nil, true, true},
	} {
		ring := &v1alpha1.Ring{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RingName}}
		ring.Status = v1alpha1.RingStatus{Epoch: 2, Phase: v1alpha1.RingStable, Current: layout(test.current...),
			Slots: []v1alpha1.RingSlot{{Slot: 1, Cell: "cell-1"}, {Slot: 2, Cell: "cell-2"}}}
		if test.target != nil {
			ring.Status.Phase, ring.Status.Target = v1alpha1.RingRebalancing, layout(test.target...)
		}
		snap, err := routing.FromRing(ring)
		if err != nil {
			t.Fatal(err)
		}
		info := &request.RequestInfo{IsResourceRequest: true, Verb: "deletecollection", APIVersion: "v1", Resource: test.resource, Namespace: "a"}
		object := wire.Meta{Name: "x", Namespace: "a"}
		for cell, want := range map[string]bool{"cell-1": test.in1, "cell-2": test.in2} {
			if got := stillAt(info, snap, cell, object); got != want {
				t.Errorf("%s of %s, ring %v to %v, in %s: %v; want %v", "x", test.resource, test.current, test.target, cell, got, want)
			}
		}
	}
}
