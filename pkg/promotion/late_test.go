package promotion_test

import (
	"fmt"
	"net/http"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/promotion"
)

// TestALatePromoterUndoesNothing: a promoter is held up before each of its requests in turn. Meanwhile another one
// promotes the object, and a user deletes it, changes it, or makes another one of its name. That is how it stays.
func TestALatePromoterUndoesNothing(t *testing.T) {
	for _, k := range []kind{configMaps, deployments} {
		for action, user := range map[string]func(b *bed, k kind, name string) *unstructured.Unstructured{
			"deletes": func(b *bed, k kind, name string) *unstructured.Unstructured {
				b.userDeletes(k, name)
				return nil
			},
			"changes": func(b *bed, k kind, name string) *unstructured.Unstructured {
				return b.userPatches(k, name, `{"metadata":{"labels":{"changed":"yes"}}}`)
			},
			"replaces": func(b *bed, k kind, name string) *unstructured.Unstructured {
				object := b.get(heir, k, name)
				b.userDeletes(k, name)
				object.SetResourceVersion("")
				object.SetUID("")
				made, err := b.as(heir, k).Create(b.t.Context(), object, metav1.CreateOptions{FieldManager: "user"})
				if err != nil {
					b.t.Fatal(err)
				}
				return made
			},
		} {
			t.Run(k.kind+" "+action, func(t *testing.T) {
				b := newBed(t)
				first := b.promoter(nil)
				for n := 1; ; n++ {
					name := fmt.Sprintf("x%d", n)
					text := `metadata: {name: ` + name + `}`
					if k.kind == "Deployment" {
						text += "\nspec: {selector: {matchLabels: {app: x}}, template: " + podTemplate + "}\nstatus: {replicas: 5}"
					}
					sealed := b.seal(heir, k, b.make(dead, k, text))
					var want *unstructured.Unstructured
					seen := 0
					late := b.promoter(func(*http.Request) {
						if seen++; seen == n {
							if r := first.Promote(t.Context(), heir, sealed); !r.Done() {
								t.Fatalf("%+v", r)
							}
							want = user(b, k, name)
						}
					})
					result := late.Promote(t.Context(), heir, sealed)
					if !result.Done() {
						t.Errorf("held up before request %d: %+v", n, result)
					}
					if want == nil && seen >= n {
						if left := b.withoutCopy(k, name); left != nil {
							t.Errorf("held up before request %d, while a user deletes it: %v", n, left)
						}
						b.until("the copy is gone", func() bool { return b.get(heir, k, name) == nil })
					}
					got := b.get(heir, k, name)
					switch {
					case seen < n && got == nil:
						t.Errorf("undisturbed: %+v and no object", result)
					case seen >= n && (want == nil) != (got == nil),
						want != nil && (want.GetUID() != got.GetUID() || want.GetResourceVersion() != got.GetResourceVersion()):
						t.Errorf("held up before request %d of %d, while a user %s it: %+v\nbefore: %v\nafter: %v", n, seen, action, result, want, got)
					}
					if b.sealed(heir, sealed) {
						t.Errorf("held up before request %d: the envelope is still there", n)
					}
					if seen < n || t.Failed() {
						break
					}
				}
			})
		}
	}
}

// withoutCopy is the object that the heir has, but for a copy on its way out.
func (b *bed) withoutCopy(k kind, name string) *unstructured.Unstructured {
	b.t.Helper()
	found := b.get(heir, k, name)
	if found != nil && found.GetDeletionTimestamp() != nil && found.GetLabels()[v1alpha1.LabelRebalanceStatus] == string(v1alpha1.Incoming) {
		return nil
	}
	return found
}

func (b *bed) userDeletes(k kind, name string) {
	b.t.Helper()
	b.userDeletesIn(heir, k, name)
}

func (b *bed) userDeletesIn(cell string, k kind, name string) {
	b.t.Helper()
	if err := b.as(cell, k).Delete(b.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		b.t.Fatal(err)
	}
	b.until(name+" is deleted", func() bool { return b.get(cell, k, name) == nil })
}

func (b *bed) userPatches(k kind, name, patch string) *unstructured.Unstructured {
	b.t.Helper()
	object, err := b.as(heir, k).Patch(b.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "user"})
	if err != nil {
		b.t.Fatal(err)
	}
	return object
}

// TestACopyThatNobodyCommittedIsTakenOver: by the next promoter, with what was changed in the envelope.
func TestACopyThatNobodyCommittedIsTakenOver(t *testing.T) {
	b := newBed(t)
	before := b.make(dead, deployments, `
metadata: {name: x}
spec: {replicas: 5, selector: {matchLabels: {app: x}}, template: `+podTemplate+`}`)
	stale := before.DeepCopy()
	stale.SetResourceVersion("")
	stale.SetUID("")
	stale.SetManagedFields(nil)
	stale.SetLabels(map[string]string{v1alpha1.LabelRebalanceStatus: string(v1alpha1.Incoming)})
	stale.SetAnnotations(map[string]string{v1alpha1.AnnotationFromCell: dead, v1alpha1.AnnotationFromUID: string(before.GetUID()), v1alpha1.AnnotationFromVersion: "1"})
	for name, edit := range map[string]func(*unstructured.Unstructured){
		// As a migration from the dead cell would have left them.
		"of the object": func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(o.Object, int64(1), "spec", "replicas")
		},
		"with an immutable field": func(o *unstructured.Unstructured) {
			for _, path := range [][]string{{"spec", "selector", "matchLabels"}, {"spec", "template", "metadata", "labels"}} {
				_ = unstructured.SetNestedStringMap(o.Object, map[string]string{"app": "y"}, path...)
			}
		},
		"of another object": func(o *unstructured.Unstructured) {
			o.SetAnnotations(map[string]string{v1alpha1.AnnotationFromCell: "elsewhere", v1alpha1.AnnotationFromUID: "u"})
		},
		"a tombstone": func(o *unstructured.Unstructured) {
			o.SetLabels(map[string]string{v1alpha1.LabelRebalanceStatus: string(v1alpha1.Migrated)})
			o.SetAnnotations(map[string]string{v1alpha1.AnnotationMovesTo: dead})
		},
	} {
		t.Run(name, func(t *testing.T) {
			left := stale.DeepCopy()
			edit(left)
			if _, err := b.in(heir, deployments).Create(t.Context(), left, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			sealed := b.seal(heir, deployments, before)
			b.promote(heir, sealed, promotion.Promoted)
			b.promoted(heir, deployments, before, sealed, nil)
			b.userDeletes(deployments, "x")
		})
	}
}
