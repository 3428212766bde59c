package promotion_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/promotion"
)

// dependent makes a resource one of class Dependent.
func (b *bed) dependent(k kind) {
	b.t.Helper()
	snap := *b.snapshot
	var err error
	snap.Classes, err = placement.NewClasses([]placement.Rule{{Group: k.Group, Resource: k.Resource, Class: placement.Dependent}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.snapshot = &snap
}

// TestDuringARebalance each key moves from the heir to the next cell, and has an envelope in both.
func TestDuringARebalance(t *testing.T) {
	const (
		inHeir = "the heir"
		inNext = "the next cell"
		there  = "where it was"
	)
	tests := map[string]struct {
		// old and now are what the two cells have of the object: "" for nothing.
		old, now string
		// sealedOld and sealedNow say which of them have an envelope.
		sealedOld, sealedNow bool
		// from is where the promotion begins, want where the object is in the end.
		from, want string
	}{
		"the cell that it moves from":            {"", "", true, true, heir, inHeir},
		"the cell that it moves to comes second": {"", "", true, true, next, inHeir},
		"an envelope where it moves to alone":    {"", "", false, true, next, inNext},
		"one where it moves from alone":          {"", "", true, false, heir, inHeir},
		"it had moved on":                        {"", "plain", true, false, heir, there},
		"it had moved on, and has a tombstone":   {"migrated", "plain", true, false, heir, there},
		"it never left":                          {"plain", "", false, true, next, there},
		"it is about to leave":                   {"migrating", "", false, true, next, there},
		"it had come through the dead cell":      {"migrated", "", true, true, heir, inHeir},
		"it had, and the next cell comes second": {"migrated", "", true, true, next, inHeir},
		"it had, with an envelope there alone":   {"migrated", "", false, true, next, inNext},
		"a copy that is on its way":              {"", "incoming", true, true, heir, inHeir},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.ring(heir, next)
			before := b.make(dead, configMaps, `{metadata: {name: x}, data: {in: dead}}`)
			laid := map[string]*unstructured.Unstructured{heir: b.lay(heir, test.old), next: b.lay(next, test.now)}
			name := ""
			if test.sealedOld {
				name = b.seal(heir, configMaps, before)
			}
			if test.sealedNow {
				name = b.seal(next, configMaps, before)
			}
			result := b.promoter(nil).Promote(t.Context(), test.from, name)
			if !result.Done() {
				t.Errorf("%+v", result)
			}
			switch test.want {
			case inHeir:
				b.promoted(heir, configMaps, before, name, nil)
			case inNext:
				b.promoted(next, configMaps, before, name, nil)
			default:
				for cell, want := range laid {
					if got := b.get(cell, configMaps, "x"); same(want, got) != "" {
						t.Errorf("in %s (-before +after):\n%s", cell, same(want, got))
					}
				}
			}
			for _, cell := range []string{heir, next} {
				if b.sealed(cell, name) {
					t.Errorf("%s still has an envelope", cell)
				}
			}
		})
	}
}

// lay puts an object into a cell as a move has it, nil for "".
func (b *bed) lay(cell, state string) *unstructured.Unstructured {
	switch state {
	case "":
		return nil
	case "plain":
		return b.make(cell, configMaps, `{metadata: {name: x}, data: {in: `+cell+`}}`)
	}
	return b.make(cell, configMaps, `{metadata: {name: x, labels: {`+v1alpha1.LabelRebalanceStatus+`: `+state+`}}, data: {in: `+cell+`}}`)
}

// TestTheObjectThatHasMovedHereIsNewer than the envelope from before its move.
func TestTheObjectThatHasMovedHereIsNewer(t *testing.T) {
	b := newBed(t)
	before := b.make(dead, configMaps, `{metadata: {name: x}, data: {in: dead}}`)
	b.make(heir, configMaps, `{metadata: {name: x, annotations: {`+v1alpha1.AnnotationPlacementEpoch+`: "8"}}, data: {in: heir}}`)
	sealed := b.seal(heir, configMaps, before)
	b.promote(heir, sealed, promotion.Dropped)
	if in, _, _ := unstructured.NestedString(b.get(heir, configMaps, "x").Object, "data", "in"); in != heir || b.sealed(heir, sealed) {
		t.Errorf("the object is from %q", in)
	}
}
