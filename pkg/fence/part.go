package fence

import (
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// part is one object of the fence.
type part struct {
	resource schema.GroupVersionResource
	want     *unstructured.Unstructured
}

// parts are what every cell has, in the order in which it is installed: the mover is let through before anybody is
// kept out, and the fence's policy comes last, whose revision shows when it is in force.
func parts() ([]part, error) {
	fence, err := policy()
	if err != nil {
		return nil, err
	}
	early, err := earlyPolicy()
	if err != nil {
		return nil, err
	}
	return partsOf(moverRole(), moverBinding(), earlyBinding(), early, binding(Name), fence)
}

// freezeParts are the objects of the freeze, likewise, of which no cell in use has more than the rights. Its mark comes first.
func freezeParts() ([]part, error) {
	freeze, err := freezePolicy()
	if err != nil {
		return nil, err
	}
	return partsOf(moverRole(), moverBinding(), freezeMark(), binding(FreezeName), freeze)
}

// rights are those of the parts by which the mover may do his work. A cell that cannot have the others has them: whatever
// moves, is backed up or is looked at there, the mover does it.
func rights(all []part) []part { return all[:2] }

func partsOf(objects ...runtime.Object) ([]part, error) {
	var out []part
	for _, object := range objects {
		raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, fmt.Errorf("encode the fence: %w", err)
		}
		u := &unstructured.Unstructured{Object: raw}
		unstructured.RemoveNestedField(u.Object, "status")
		unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
		resource, _ := meta.UnsafeGuessKindToResource(u.GroupVersionKind()) // which is right for these kinds
		out = append(out, part{resource: resource, want: u})
	}
	return out, nil
}

// Owns says whether an object of that name is a part of a cell's fence or freeze: each cell has its own, which
// is no copy of anything.
func Owns(resource schema.GroupResource, name string) bool {
	switch resource.Group {
	case admissionv1.GroupName:
		return (name == Name || name == FreezeName || name == EarlyName) && strings.HasPrefix(resource.Resource, "validatingadmissionpolic")
	case rbacv1.GroupName:
		return name == RoleMover && (resource.Resource == "clusterroles" || resource.Resource == "clusterrolebindings") ||
			name == FreezeName && resource.Resource == "clusterroles"
	}
	return false
}

// name is "<kind>/<name>" in lower case.
func (p part) name() string { return strings.ToLower(p.want.GetKind()) + "/" + p.want.GetName() }

// differences are the fields by which live is not as it must be, with their paths. Metadata and status
// are others' as well, and fields that this version does not know have defaults of which it knows
// nothing: neither is looked at.
func (p part) differences(live *unstructured.Unstructured) ([]string, error) {
	typed, err := scheme.Scheme.New(p.want.GroupVersionKind())
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", p.name(), err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(live.Object, typed); err != nil {
		return nil, fmt.Errorf("decode %s: %w", p.name(), err)
	}
	known, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", p.name(), err)
	}
	var out []string
	for _, field := range contentFields(p.want.Object, known) {
		for _, path := range differing(field, p.want.Object[field], known[field]) {
			out = append(out, p.name()+" "+path)
		}
	}
	return out, nil
}

// contentFields are the top-level fields of either that an author writes, in order.
func contentFields(a, b map[string]any) []string {
	var out []string
	for _, field := range keys(a, b) {
		switch field {
		case "apiVersion", "kind", "metadata", "status":
		default:
			out = append(out, field)
		}
	}
	return out
}

// differing are the paths at which two values differ. Lists are compared as a whole.
func differing(path string, want, live any) []string {
	wantMap, ok := want.(map[string]any)
	liveMap, too := live.(map[string]any)
	if !ok || !too {
		if equality.Semantic.DeepEqual(want, live) {
			return nil
		}
		return []string{path}
	}
	var out []string
	for _, key := range keys(wantMap, liveMap) {
		out = append(out, differing(path+"."+key, wantMap[key], liveMap[key])...)
	}
	return out
}
