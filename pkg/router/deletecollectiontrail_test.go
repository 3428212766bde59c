package router

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// TestATrailLeadsToTheObjectThatWasListed and to none that was made under its name meanwhile. It begins with UID 1; each
// look finds what two cells have.
func TestATrailLeadsToTheObjectThatWasListed(t *testing.T) {
	object := func(uid types.UID, status v1alpha1.RebalanceStatus, from string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: uid,
			Labels:      map[string]string{v1alpha1.LabelRebalanceStatus: string(status)},
			Annotations: map[string]string{v1alpha1.AnnotationFromUID: from}}}
	}
	type look [2]*metav1.PartialObjectMetadata
	plain1, moving1, left1 := object("1", "", ""), object("1", v1alpha1.Migrating, ""), object("1", v1alpha1.Migrated, "")
	copy2, plain2, left2 := object("2", v1alpha1.Incoming, "1"), object("2", "", ""), object("2", v1alpha1.Migrated, "")
	copy3, plain3 := object("3", v1alpha1.Incoming, "1"), object("3", "", "")
	for name, test := range map[string]struct {
		looks []look
		sight seen
		last  types.UID
	}{
		"it is nowhere":                       {[]look{{nil, nil}}, absent, "1"},
		"it moves":                            {[]look{{moving1, copy2}}, absent, "2"},
		"it has arrived":                      {[]look{{moving1, nil}, {left1, copy2}, {left1, plain2}}, shown, "2"},
		"it has arrived, unseen":              {[]look{{moving1, nil}, {left1, plain2}}, shown, "2"},
		"its tombstone is buried":             {[]look{{left1, copy2}, {nil, plain2}}, shown, "2"},
		"it stays":                            {[]look{{moving1, copy2}, {plain1, nil}}, shown, "1"},
		"it was copied twice":                 {[]look{{moving1, copy2}, {moving1, copy3}, {left1, plain3}}, shown, "3"},
		"it is back":                          {[]look{{left1, copy2}, {left1, plain2}, {plain1, left2}}, shown, "1"},
		"it was made anew where it was":       {[]look{{moving1, nil}, {plain3, nil}}, taken, "1"},
		"it was made anew where it was to go": {[]look{{moving1, copy2}, {nil, plain3}}, taken, "2"},
		"it was made anew where it had come":  {[]look{{left1, copy2}, {left1, plain3}}, taken, "2"},
		"that moves":                          {[]look{{object("3", v1alpha1.Migrating, ""), object("4", v1alpha1.Incoming, "3")}}, taken, "1"},
		"another one is where it is to go":    {[]look{{moving1, plain3}}, absent, "1"},
		"a copy of another one":               {[]look{{moving1, object("4", v1alpha1.Incoming, "3")}}, absent, "1"},
	} {
		followed := trail{"1"}
		var sight seen
		for _, l := range test.looks {
			sight = followed.follow([]finding{{source: "a", object: l[0]}, {source: "b", object: l[1]}})
		}
		if sight != test.sight || followed.last() != test.last {
			t.Errorf("%s: %v, UID %s; want %v, UID %s", name, sight, followed.last(), test.sight, test.last)
		}
	}
}
