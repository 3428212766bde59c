package replication

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// desired returns what is applied to a cell for source: everything its author wrote, nothing that a
// server did, and the mark that makes it a copy.
func desired(source *unstructured.Unstructured) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: content(source)}
	out.SetGroupVersionKind(source.GroupVersionKind())
	out.SetName(source.GetName())
	out.SetNamespace(source.GetNamespace())
	out.SetLabels(source.GetLabels())
	annotations := map[string]string{}
	for key, value := range source.GetAnnotations() {
		annotations[key] = value
	}
	annotations[v1alpha1.AnnotationReplicatedFrom] = string(source.GetUID())
	out.SetAnnotations(annotations)
	return out
}

// content returns the fields of obj beside its type and metadata that its author wrote. The rules of a ClusterRole with an
// aggregation rule are its control plane's, which gathers them from the roles that are there.
func content(obj *unstructured.Unstructured) map[string]any {
	out := map[string]any{}
	aggregated := obj.Object["aggregationRule"] != nil
	for field, value := range obj.DeepCopy().Object {
		switch field {
		case "apiVersion", "kind", "metadata", "status":
		case "spec":
			// A namespace's spec holds its finalizers alone, and those belong to its server.
			if obj.GetKind() != "Namespace" {
				out[field] = value
			}
		case "rules":
			if !aggregated {
				out[field] = value
			}
		default:
			out[field] = value
		}
	}
	return out
}

// Same says whether copied already says what source says. A copy may say more: labels and
// annotations of its own cell; but one that was made from another source, or that keeps what its
// source has dropped, is not the same.
func Same(source, copied *unstructured.Unstructured) bool {
	if from := copyOf(copied); from != "" && from != string(source.GetUID()) {
		return false
	}
	return equality.Semantic.DeepEqual(content(source), content(copied)) &&
		sameEntries(source.GetLabels(), copied.GetLabels(), copied) &&
		sameEntries(source.GetAnnotations(), copied.GetAnnotations(), copied)
}

// unclaimed says whether an object of a cell that says what its source says has yet to be marked as the copy, so that it goes
// when its source does: rights must not stay because somebody had given them in the cell as well. What every control plane
// makes for itself is left untouched.
func unclaimed(o Object, copied *unstructured.Unstructured) bool {
	switch {
	case copyOf(copied) != "", IsQuota(o), isNamespace(o) && !WaitsForCells(o):
		return false
	case o.Resource.Group == "" && o.Resource.Resource == "serviceaccounts" && o.Name == "default":
		return false
	}
	_, bootstrap := copied.GetLabels()["kubernetes.io/bootstrapping"]
	return !bootstrap && !strings.HasPrefix(o.Name, "system:") && !strings.HasPrefix(o.Name, "system-")
}

func sameEntries(source, copied map[string]string, owner *unstructured.Unstructured) bool {
	for key, value := range source {
		if got, ok := copied[key]; !ok || got != value {
			return false
		}
	}
	if copyOf(owner) == "" {
		return true
	}
	// An entry that is in a copy and not in its source is the cell's own, or stale: only an apply
	// can tell, and it changes nothing where it was the cell's own.
	for key := range copied {
		if _, ok := source[key]; !ok && key != v1alpha1.AnnotationReplicatedFrom {
			return false
		}
	}
	return true
}
