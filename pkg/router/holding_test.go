package router

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// TestACopyCountsForItsOwnTombstone and for no other that was left earlier.
func TestACopyCountsForItsOwnTombstone(t *testing.T) {
	object := func(uid types.UID, status v1alpha1.RebalanceStatus, from string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: uid,
			Labels:      map[string]string{v1alpha1.LabelRebalanceStatus: string(status)},
			Annotations: map[string]string{v1alpha1.AnnotationFromUID: from}}}
	}
	tombstone1, tombstone2 := object("1", v1alpha1.Migrated, ""), object("2", v1alpha1.Migrated, "")
	plain2, moving2, copyOf2 := object("2", "", ""), object("2", v1alpha1.Migrating, ""), object("3", v1alpha1.Incoming, "2")
	for name, test := range map[string]struct {
		found []*metav1.PartialObjectMetadata
		want  []string
	}{
		"nowhere":              {[]*metav1.PartialObjectMetadata{nil, nil, nil}, nil},
		"it stays":             {[]*metav1.PartialObjectMetadata{nil, plain2, nil}, []string{"b"}},
		"it moved once":        {[]*metav1.PartialObjectMetadata{tombstone1, plain2, nil}, []string{"b"}},
		"it moves again":       {[]*metav1.PartialObjectMetadata{tombstone1, moving2, copyOf2}, []string{"b"}},
		"it has left":          {[]*metav1.PartialObjectMetadata{tombstone1, tombstone2, copyOf2}, []string{"c"}},
		"who has it is silent": {[]*metav1.PartialObjectMetadata{tombstone1, nil, copyOf2}, nil},
		"a copy alone":         {[]*metav1.PartialObjectMetadata{nil, nil, copyOf2}, nil},
		"two of them":          {[]*metav1.PartialObjectMetadata{object("1", "", ""), plain2, nil}, []string{"a", "b"}},
	} {
		found := make([]finding, len(test.found))
		for i, source := range []string{"a", "b", "c"} {
			found[i] = finding{source: source, object: test.found[i]}
		}
		if got := names(holding(found)); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v; want %v", name, got, test.want)
		}
	}
}
