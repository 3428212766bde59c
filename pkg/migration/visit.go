package migration

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// Visit shows the metadata of all sharded and dependent objects of the cell, a page at a time: what a rebalance would
// look at, whatever its state. An object may be shown twice where a list takes long; none that stays is missed.
func (c *Cell) Visit(ctx context.Context, snap *routing.Snapshot, visit func(Object, *metav1.PartialObjectMetadata) error) error {
	for _, class := range []placement.Class{placement.Sharded, placement.Dependent} {
		for _, resource := range c.Resources(snap, class) {
			if err := c.eachObject(ctx, resource, "", visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// Owners are the UIDs that any object of the cell, outside the system's namespaces, names as its owner.
func (c *Cell) Owners(ctx context.Context) (map[types.UID]bool, error) {
	out := map[types.UID]bool{}
	for _, resource := range c.resources {
		err := c.eachObject(ctx, resource, "", func(o Object, _ *metav1.PartialObjectMetadata) error {
			for i := range o.Owners {
				out[o.Owners[i].UID] = true
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Preferred is a resource in the version that the cell prefers. It is false where the cell did not serve it when it was
// connected.
func (c *Cell) Preferred(resource schema.GroupResource) (Resource, bool) {
	for _, r := range c.resources {
		if r.GroupResource() == resource {
			return r, true
		}
	}
	return Resource{}, false
}
