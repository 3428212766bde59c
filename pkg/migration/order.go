package migration

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// owned is what order needs to know of an object.
type owned interface {
	id() types.UID
	ownedBy() []metav1.OwnerReference
	name() string
}

// ownersFirst sorts so that each object comes after its owners among the others. The error is a circle,
// with its members.
func ownersFirst[T owned](objects []T) error {
	byUID := make(map[types.UID]T, len(objects))
	for _, o := range objects {
		byUID[o.id()] = o
	}
	// An object that is begun and not ended is on the path to the root.
	began, ended := map[types.UID]bool{}, map[types.UID]bool{}
	sorted := make([]T, 0, len(objects))
	var path []string
	var visit func(T) error
	visit = func(o T) error {
		switch {
		case ended[o.id()]:
			return nil
		case began[o.id()]:
			start := slices.Index(path, o.name())
			return fail(Cycle, nil, "each owns the next: %s", strings.Join(append(path[start:], o.name()), " ← "))
		}
		began[o.id()] = true
		path = append(path, o.name())
		for _, owner := range o.ownedBy() {
			if parent, inside := byUID[owner.UID]; inside {
				if err := visit(parent); err != nil {
					return err
				}
			}
		}
		path = path[:len(path)-1]
		ended[o.id()] = true
		sorted = append(sorted, o)
		return nil
	}
	for _, o := range objects {
		if err := visit(o); err != nil {
			return err
		}
	}
	copy(objects, sorted)
	return nil
}
