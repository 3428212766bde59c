package replication

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// pageSize is how many objects a list asks for at once.
const pageSize = 500

// comparison finds what differs between the RCP and one cell.
type comparison struct {
	rcp     dynamic.Interface
	cell    Cell
	classes *placement.Classes
}

// compare calls differs for every object of the resource whose copy is not as its source; kept is
// false where the copy has to go. It returns how many objects belong into the cell. All copies of the
// resource are held in memory at once, of the sources one page.
func (c *comparison) compare(ctx context.Context, resource schema.GroupVersionResource, differs func(o Object, kept bool)) (objects int, err error) {
	copies := map[Object]*unstructured.Unstructured{}
	err = c.eachObject(ctx, c.cell.Client, resource, func(o Object, obj *unstructured.Unstructured) {
		obj.SetManagedFields(nil)
		copies[o] = obj
	})
	if apierrors.IsNotFound(err) {
		// The cell does not serve the resource yet: its definition was copied a moment ago. The
		// first apply fails and says so, if it still does not.
		err = nil
	}
	if err != nil {
		return 0, err
	}
	err = c.eachObject(ctx, c.rcp, resource, func(o Object, source *unstructured.Unstructured) {
		copied := copies[o]
		delete(copies, o)
		if Excluded(o) {
			return
		}
		if leaving(source) {
			if !leaving(copied) {
				differs(o, false)
			}
			return
		}
		objects++
		if IsQuota(o) {
			source = c.cell.Shares.asDivided(source, copied)
		}
		if leaving(copied) || !Same(source, copied) || unclaimed(o, copied) {
			differs(o, true)
		}
	})
	if err != nil {
		return objects, &sourceError{err}
	}
	for o, copied := range copies {
		if copyOf(copied) != "" && !leaving(copied) {
			differs(o, false)
		}
	}
	return objects, nil
}

// eachObject calls visit for every Replicated object of the resource, a page at a time. Those in the
// system's own namespaces are Global: they stay in the RCP, and a cell has its own.
func (c *comparison) eachObject(ctx context.Context, client dynamic.Interface, resource schema.GroupVersionResource, visit func(Object, *unstructured.Unstructured)) error {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := client.Resource(resource).List(ctx, options)
		if err != nil {
			return fmt.Errorf("list %s: %w", resource.Resource, err)
		}
		for i := range page.Items {
			obj := &page.Items[i]
			if class, _ := c.classes.Of(resource.Group, resource.Resource, obj.GetNamespace()); class != placement.Replicated {
				continue
			}
			visit(Object{Resource: resource, Namespace: obj.GetNamespace(), Name: obj.GetName()}, obj)
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}
