package failover

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// Verdict is how an object of a returned cell stands to the federation's of that name.
type Verdict string

// The verdicts. The last two are saved to files before the object is removed.
const (
	// Identical: both hold the same.
	Identical Verdict = "Identical"
	// Older: the federation's was brought back from what the cell has, and has gone on since.
	Older Verdict = "Older"
	// Diverged: the cell's is not what the federation's was brought back from. It was changed after its last copy, or the
	// federation's is another object.
	Diverged Verdict = "Diverged"
	// OnlyHere: the federation has none. It was lost, or deleted there since.
	OnlyHere Verdict = "OnlyHere"
)

// Compare judges an object of a returned cell. there is the federation's, nil for none. It is pure.
//
// No clock decides, and no list of losses: the cell's is older if it is the very state that was brought back. In doubt,
// where the federation's does not say what it was made from, it has diverged.
func Compare(cell string, here, there *unstructured.Unstructured) Verdict {
	switch {
	case there == nil:
		return OnlyHere
	case bytes.Equal(canonical(here), canonical(there)):
		return Identical
	case there.GetAnnotations()[v1alpha1.AnnotationPromotedFrom] == migration.Origin(cell, here.GetUID(), here.GetResourceVersion()):
		return Older
	}
	return Diverged
}

// canonical is what two control planes can have alike of an object.
func canonical(obj *unstructured.Unstructured) []byte {
	out := obj.DeepCopy()
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"} {
		unstructured.RemoveNestedField(out.Object, "metadata", field)
	}
	labels, annotations := out.GetLabels(), out.GetAnnotations()
	for _, all := range []map[string]string{labels, annotations} {
		for key := range all {
			if strings.HasPrefix(key, v1alpha1.GroupName+"/") {
				delete(all, key)
			}
		}
	}
	setOrRemove(out, labels, "metadata", "labels")
	setOrRemove(out, annotations, "metadata", "annotations")
	refs := out.GetOwnerReferences()
	for i := range refs {
		refs[i].UID = "" // each control plane has its own
	}
	if len(refs) > 0 {
		out.SetOwnerReferences(refs)
	}
	raw, err := json.Marshal(out.Object)
	if err != nil {
		return nil // it was JSON before
	}
	return raw
}

func setOrRemove(obj *unstructured.Unstructured, values map[string]string, path ...string) {
	if len(values) == 0 {
		unstructured.RemoveNestedField(obj.Object, path...)
		return
	}
	_ = unstructured.SetNestedStringMap(obj.Object, values, path...) // the path is there already
}

// difference is a unified diff of the two, as YAML, from the federation's to the cell's.
func difference(here, there *unstructured.Unstructured) (string, error) {
	var texts [2]string
	for i, obj := range []*unstructured.Unstructured{there, here} {
		if obj == nil {
			continue
		}
		text, err := yaml.JSONToYAML(canonical(obj))
		if err != nil {
			return "", fmt.Errorf("encode as YAML: %w", err)
		}
		texts[i] = string(text)
	}
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: difflib.SplitLines(texts[0]), B: difflib.SplitLines(texts[1]),
		FromFile: "federation", ToFile: "cell", Context: 3,
	})
	if err != nil {
		return "", fmt.Errorf("compare: %w", err)
	}
	return text, nil
}
