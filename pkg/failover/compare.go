package failover

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pmezard/go-difflib/difflib"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Verdict is how an object of a returned cell stands to the federation's of that name.
type Verdict string

// The verdicts. The last two are saved to files before the object is removed.
const (
	// Identical: both hold the same.
	Identical Verdict = "Identical"
	// Older: the cell's was last changed before it was fenced off, and the federation has gone on since.
	Older Verdict = "Older"
	// Diverged: the cell's was changed after it was fenced off, or a write to it was never backed up.
	Diverged Verdict = "Diverged"
	// OnlyHere: the federation has none. It was lost, or deleted there since.
	OnlyHere Verdict = "OnlyHere"
)

// Compare judges an object of a returned cell. there is the federation's, nil for none. It is pure.
//
// fenced is when the cell was fenced off. A write of before is in the copy that was promoted, unless the report of the
// failover names the object as stale. A write without a date counts as one of after.
func Compare(here, there *unstructured.Unstructured, fenced time.Time, stale bool) Verdict {
	switch {
	case there == nil:
		return OnlyHere
	case bytes.Equal(canonical(here), canonical(there)):
		return Identical
	case !stale && lastWrite(here).Before(fenced.Truncate(time.Second)):
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

// lastWrite is when an object was last changed by what its managed fields say, in whole seconds; the far future where
// they do not say it.
func lastWrite(obj *unstructured.Unstructured) time.Time {
	last := obj.GetCreationTimestamp().Time
	fields := obj.GetManagedFields()
	if len(fields) == 0 {
		return time.Unix(1<<40, 0)
	}
	for _, f := range fields {
		if f.Time == nil {
			return time.Unix(1<<40, 0)
		}
		if f.Time.After(last) {
			last = f.Time.Time
		}
	}
	return last
}

// Difference is a unified diff of the two, as YAML, from the federation's to the cell's.
func Difference(here, there *unstructured.Unstructured) (string, error) {
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

// staleKeys are the objects of which the report of a failover says that their copy lacked a write. known is false where
// it names only some of them: any may be one.
func staleKeys(r *v1alpha1.FailoverReport) (is func(key string) bool) {
	if r == nil || int64(len(r.StaleKeys)) < r.Stale {
		return func(string) bool { return true }
	}
	return func(key string) bool { return slices.Contains(r.StaleKeys, key) }
}
