package router_test

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/router/stream"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

// TestReadsFromWhenACellHadLeft: a bookmark says of a cell that has left that nothing more comes from it, in the place of a
// version. When the cell is back that is no version to wait for.
func TestReadsFromWhenACellHadLeft(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "hadleft")
	names := b.oneOfEach(t, ns)
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	options := metav1.ListOptions{LabelSelector: "parity"}
	all, err := maps.List(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	v, err := version.Parse(all.ResourceVersion)
	if err != nil || v.Vector == nil {
		t.Fatalf("version of the list is %q: %v", all.ResourceVersion, err)
	}
	v.Vector.Set(b.snapshot(t).Slots["cell-2"], stream.Left)
	options.ResourceVersion = v.Vector.String()
	for _, match := range []metav1.ResourceVersionMatch{"", metav1.ResourceVersionMatchNotOlderThan} {
		options.ResourceVersionMatch = match
		if list, err := maps.List(t.Context(), options); err != nil || len(list.Items) != len(all.Items) {
			t.Errorf("list, match %q: %d items, %v; want %d", match, len(list.Items), err, len(all.Items))
		}
	}
	options.ResourceVersionMatch = metav1.ResourceVersionMatchExact
	if _, err := maps.List(t.Context(), options); !apierrors.IsResourceExpired(err) {
		t.Errorf("list as it was then: %v; want that it has expired", err)
	}
	options.ResourceVersionMatch, options.Limit = "", 5 // which means exactly
	if _, err := maps.List(t.Context(), options); !apierrors.IsResourceExpired(err) {
		t.Errorf("page of a list as it was then: %v; want that it has expired", err)
	}
	for cell, name := range names {
		if _, err := maps.Get(t.Context(), name, metav1.GetOptions{ResourceVersion: options.ResourceVersion}); err != nil {
			t.Errorf("get in %s: %v", cell, err)
		}
	}
}
