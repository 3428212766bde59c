package migration

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// Pages reads the metadata of a resource's objects in one cell, a page at a time, in the order in which the cell
// stores them: by namespace and name, joined by a slash, byte by byte. It is used by one goroutine.
type Pages struct {
	cell     *Cell
	resource Resource
	// namespace is empty for all.
	namespace string
	options   metav1.ListOptions
	ended     bool
}

// Pages begins a list, without a request. namespace and selector may be empty; limit is how many objects a page has at
// most.
func (c *Cell) Pages(resource Resource, namespace, selector string, limit int64) *Pages {
	return &Pages{cell: c, resource: resource, namespace: namespace, options: metav1.ListOptions{Limit: limit, LabelSelector: selector}}
}

// Next is the next page that has an object which is neither the system's nor made by every control plane for itself, nil
// at the end. A resource that the cell does not serve any more has none.
//
// When a list takes so long that its position expires it goes on from the same name at a newer version: an object may be
// met twice then, none that stayed is missed.
func (p *Pages) Next(ctx context.Context) ([]metav1.PartialObjectMetadata, error) {
	for !p.ended {
		list, err := p.cell.meta.Resource(p.resource.GroupVersionResource).Namespace(p.namespace).List(ctx, p.options)
		switch {
		case Resume(err, &p.options):
			continue
		case apierrors.IsNotFound(err):
			p.ended = true // its definition was deleted since the cell was connected
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("list %s in cell %s: %w", p.resource.GroupResource(), p.cell.Name, err)
		}
		p.options.Continue = list.Continue
		p.ended = list.Continue == ""
		page := slices.DeleteFunc(list.Items, func(meta metav1.PartialObjectMetadata) bool {
			r := p.resource
			return placement.SystemNamespace(meta.Namespace) || placement.IsSelfMade(r.Group, r.GroupVersionResource.Resource, meta.Namespace, meta.Name)
		})
		if len(page) > 0 {
			return page, nil
		}
	}
	return nil, nil
}

// Resume says whether err is of a list that took so long that its position has expired, and has the options go on from
// the same name at a newer version.
func Resume(err error, options *metav1.ListOptions) bool {
	var status apierrors.APIStatus
	if !apierrors.IsResourceExpired(err) || !errors.As(err, &status) {
		return false
	}
	next := status.Status().Continue
	if next == "" || next == options.Continue {
		return false
	}
	options.Continue = next
	return true
}
