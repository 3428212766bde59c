package robustness

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

const (
	namespace = "robust"
	// prefix begins the names of all objects of the proof.
	prefix = "k-"
	// born and marked are annotations: the marks of the create and of the last write. The latter is in the object's
	// body as well: one that has two different ones is torn.
	born   = "robustness/born"
	marked = "robustness/mark"
	// protectedBy is the label that rules of protection look at.
	protectedBy = "robustness-protection"
)

// The kinds: one without a status, one with scale and a status, and a custom one, which is sharded by the default rules.
var (
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	widgets     = schema.GroupVersionResource{Group: "types.kubeadmiral.io", Version: "v1alpha1", Resource: "federatedwidgets"}
)

func kinds() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{configMaps, deployments, widgets}
}

// allKeys are the objects of n names: each of one kind, and every tenth of all three, which then are one unit.
func allKeys(n int) []string {
	var out []string
	for i := range n {
		for k, kind := range kinds() {
			if i%len(kinds()) == k || i%10 == 0 {
				out = append(out, keyOf(kind, fmt.Sprintf("%s%03d", prefix, i)))
			}
		}
	}
	return out
}

func keyOf(kind schema.GroupVersionResource, name string) string { return kind.Resource + "/" + name }

func nameOf(key string) string { return key[strings.Index(key, "/")+1:] }

func kindOf(key string) schema.GroupVersionResource {
	for _, kind := range kinds() {
		if strings.HasPrefix(key, kind.Resource+"/") {
			return kind
		}
	}
	panic("no kind for " + key)
}

func resourceOf(c dynamic.Interface, key string) dynamic.ResourceInterface {
	return c.Resource(kindOf(key)).Namespace(namespace)
}

func newObject(apiVersion, kind, name string) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
	out.SetNamespace(namespace)
	out.SetName(name)
	return out
}

// fresh is the object of a key as a create makes it.
func fresh(key, mark string, replicas int64) *unstructured.Unstructured {
	var o *unstructured.Unstructured
	switch kindOf(key) {
	case deployments:
		o = newObject("apps/v1", "Deployment", nameOf(key))
		labels := map[string]any{"app": nameOf(key)}
		o.Object["spec"] = map[string]any{
			"replicas": replicas, "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": "registry.example/c:1"}}},
			},
		}
	case widgets:
		o = newObject("types.kubeadmiral.io/v1alpha1", "FederatedWidget", nameOf(key))
	default:
		o = newObject("v1", "ConfigMap", nameOf(key))
	}
	if isHeld(key) {
		o.SetFinalizers([]string{finalizer})
	}
	o.SetAnnotations(map[string]string{born: mark})
	if policy := protectionOf(key); policy != "" {
		o.SetLabels(map[string]string{protectedBy: string(policy)})
	}
	setMark(o, key, mark)
	return o
}

// protectionOf is how an object is protected where the ring has a rule for its label, "" for as all others: a tenth of
// the names in either way.
func protectionOf(key string) v1alpha1.ProtectionPolicy {
	switch key[len(key)-1] {
	case '1':
		return v1alpha1.ProtectionStrict
	case '2':
		return v1alpha1.ProtectionDegrade
	}
	return ""
}

// markPath is where a kind has its mark in the body.
func markPath(key string) []string {
	switch kindOf(key) {
	case deployments:
		return []string{"spec", "template", "metadata", "annotations", "mark"}
	case widgets:
		return []string{"spec", "mark"}
	}
	return []string{"data", "mark"}
}

func setMark(o *unstructured.Unstructured, key, mark string) {
	for _, path := range [][]string{{"metadata", "annotations", marked}, markPath(key)} {
		if err := unstructured.SetNestedField(o.Object, mark, path...); err != nil {
			panic(err)
		}
	}
}

// markPatch is a merge patch that sets the mark; version, where it is not empty, is its condition.
func markPatch(key, mark, version string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	setMark(o, key, mark)
	if version != "" {
		o.SetResourceVersion(version)
	}
	return o
}

// report is a merge patch of a status that says how many replicas there are, as a controller of the kind would; version,
// where it is not empty, is its condition.
func report(replicas int64, version string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"replicas": replicas}}}
	if version != "" {
		o.SetResourceVersion(version)
	}
	return o
}

// newScale is a Scale that asks for replicas of an object in a version.
func newScale(key string, replicas int64, version string) *unstructured.Unstructured {
	o := newObject("autoscaling/v1", "Scale", nameOf(key))
	o.SetResourceVersion(version)
	o.Object["spec"] = map[string]any{"replicas": replicas}
	return o
}

// stateOf is what counts of an object, or of a Scale.
func stateOf(key string, o *unstructured.Unstructured) history.State {
	s := history.State{Version: o.GetResourceVersion()}
	s.Replicas, _, _ = unstructured.NestedInt64(o.Object, "spec", "replicas")
	s.Reported, _, _ = unstructured.NestedInt64(o.Object, "status", "replicas")
	if o.GetKind() == "Scale" {
		return s
	}
	s.Born, s.Mark = o.GetAnnotations()[born], o.GetAnnotations()[marked]
	if inside, _, _ := unstructured.NestedString(o.Object, markPath(key)...); inside != s.Mark {
		s.Mark = fmt.Sprintf("torn: %s and %s", s.Mark, inside)
	}
	return s
}

func statusOf(o metav1.Object) history.Status {
	return history.Status(o.GetLabels()[v1alpha1.LabelRebalanceStatus])
}
