package migration

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// Resource is a resource as the old cell serves it.
type Resource struct {
	schema.GroupVersionResource
	Kind string
	// Namespaced is false for cluster-scoped objects.
	Namespaced bool
	// Status says whether the status is a subresource, and written by itself.
	Status bool
	// Class is Sharded or Dependent.
	Class placement.Class
}

// Object is one object of a unit as it was found.
type Object struct {
	Resource  Resource
	Namespace string
	Name      string
	UID       types.UID
	// ResourceVersion is the one that the mark is for; empty means that the object is read first.
	ResourceVersion string
	// Status is the label that it was found with.
	Status v1alpha1.RebalanceStatus
	// Arrived says of a tombstone that its copy was not incoming any more: its move has ended, perhaps in an earlier run. It is
	// part of the unit for its UID, which dependents know.
	Arrived bool
	// Taken says of an object that has not moved that the unit's new cell has one of its name that counts as well: one that
	// somebody made there. Routers do not show that one as long as the ring moves the unit there.
	Taken bool
	// Deleting says whether it has a deletionTimestamp.
	Deleting bool
	Owners   []metav1.OwnerReference
}

func (o Object) String() string {
	name := o.Name
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	return o.Resource.GroupResource().String() + " " + name
}

// Unit is what moves together.
type Unit struct {
	// Key is that of its objects; where owners join several keys in one unit, the first of them.
	Key string
	// From and To are the old and the new cell.
	From, To string
	// Objects are in no order.
	Objects []Object
	// Chosen says whether one of them was chosen, where [Choose] was asked; all are for [Units].
	Chosen bool
}

// Choice says whether an object is one of those that are asked for, by its namespace and labels.
type Choice func(namespace string, labels map[string]string) bool

// String is for logs.
func (u Unit) String() string { return fmt.Sprintf("%s (%s→%s)", u.Key, u.From, u.To) }

// Stale is the unit with objects that have to be read before they are marked: time has passed since they were found, and one
// that was being deleted then may be gone.
func (u Unit) Stale() Unit {
	objects := make([]Object, len(u.Objects))
	for i, o := range u.Objects {
		o.ResourceVersion, o.Deleting, o.Owners = "", false, nil
		objects[i] = o
	}
	u.Objects = objects
	return u
}

// Marked says whether an earlier run has begun with the unit, and not ended.
func (u Unit) Marked() bool {
	for _, o := range u.Objects {
		if o.Status != "" && !o.Arrived {
			return true
		}
	}
	return false
}
