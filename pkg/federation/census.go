package federation

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// pageSize is how many objects' metadata one request asks for.
const pageSize = 500

// Resource is a Sharded resource and the rule that makes its objects' keys.
type Resource struct {
	schema.GroupVersionResource
	Key placement.KeyRule
}

// ShardedResources are the resources that the RCP serves, can list, and that are Sharded. What only
// a cell serves is not part of the federation.
func ShardedResources(rcp *rest.Config, classes *placement.Classes) ([]Resource, error) {
	client, err := discovery.NewDiscoveryClientForConfig(rcp)
	if err != nil {
		return nil, fmt.Errorf("build discovery client: %w", err)
	}
	lists, err := client.ServerPreferredResources()
	// An aggregated API that is down hides its own resources only.
	if err != nil && len(lists) == 0 {
		return nil, fmt.Errorf("discover resources: %w", err)
	}
	var out []Resource
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("discover resources: %w", err)
		}
		for _, r := range list.APIResources {
			class, key := classes.Of(gv.Group, r.Name, "")
			if class == placement.Sharded && slices.Contains(r.Verbs, "list") && !strings.Contains(r.Name, "/") {
				out = append(out, Resource{GroupVersionResource: gv.WithResource(r.Name), Key: key})
			}
		}
	}
	return out, nil
}

// Unit is one workload as the census meets it: all sharded objects with one key.
type Unit struct {
	Key string
	// Cell is where the unit lives: the cell whose objects are shown through a router.
	Cell string
	// Namespace, Name and Resource are those of the first of its objects that was found, and Rule
	// is how that one makes the key.
	Namespace string
	Name      string
	Resource  schema.GroupVersionResource
	Rule      placement.KeyRule
	// Status is the state of its migration, empty for a unit at rest.
	Status v1alpha1.RebalanceStatus
	// Placement is what the snapshot says about the key.
	Placement placement.Placement
}

// CellError says that a cell could not be counted. The census goes on with the others.
type CellError struct {
	Cell string
	Err  error
}

func (e *CellError) Error() string { return fmt.Sprintf("cell %s: %v", e.Cell, e.Err) }

// Unwrap is the cause.
func (e *CellError) Unwrap() error { return e.Err }

// CensusOptions narrow a census down.
type CensusOptions struct {
	// Namespace is the only one to look at; empty means all.
	Namespace string
	// Selector is a label selector in its text form, for the objects.
	Selector string
}

// Census goes through the units of all cells, each once, in no order. cells are the cells to ask, by
// name; snap says which cell shows which key.
//
// An object counts in the cell that the snapshot names, and only there: what controllers make in
// every cell, leftovers and tombstones are passed over. Objects in the system's namespaces are never
// sharded. Only metadata is read, a page at a time; what is kept is one string per key.
//
// Errors are *CellError for a cell that does not answer, which makes the census short by that cell,
// and the context's. The sequence may be left early; it ends its requests then.
func Census(ctx context.Context, cells map[string]*rest.Config, resources []Resource, snap *routing.Snapshot, options CensusOptions) iter.Seq2[Unit, error] {
	return func(yield func(Unit, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		found := make(chan counted, pageSize)
		var readers sync.WaitGroup
		for name, config := range cells {
			r := &reader{cell: name, snap: snap, options: options, found: found}
			readers.Go(func() { r.read(ctx, config, resources) })
		}
		go func() { // ends with the readers
			readers.Wait()
			close(found)
		}()
		defer func() {
			cancel()
			for range found { // until every reader has seen the cancellation
			}
		}()
		seen := map[string]struct{}{}
		for c := range found {
			if c.err != nil {
				if !yield(Unit{}, c.err) {
					return
				}
				continue
			}
			if _, known := seen[c.unit.Key]; known {
				continue
			}
			seen[c.unit.Key] = struct{}{}
			if !yield(c.unit, nil) {
				return
			}
		}
		if err := context.Cause(ctx); err != nil {
			yield(Unit{}, fmt.Errorf("count workloads: %w", err))
		}
	}
}

// Counter is all that a census of one federation needs.
type Counter struct {
	// Cells by name; those without a Config are reported by Units as missing.
	Cells     map[string]Access
	Resources []Resource
	Snapshot  *routing.Snapshot
}

// NewCensus reads cells and resources from the RCP. It asks no cell yet.
func NewCensus(ctx context.Context, rcp *rest.Config, ring *v1alpha1.Ring) (*Counter, error) {
	snap, err := routing.FromRing(ring)
	if err != nil {
		return nil, err
	}
	cells, err := Cells(ctx, rcp)
	if err != nil {
		return nil, err
	}
	resources, err := ShardedResources(rcp, snap.Classes)
	if err != nil {
		return nil, err
	}
	return &Counter{Cells: cells, Resources: resources, Snapshot: snap}, nil
}

// Units is [Census] of the cells that the snapshot places anything in. One without credentials, or
// that is no Cell at all, is a *CellError like one that does not answer.
func (c *Counter) Units(ctx context.Context, options CensusOptions) iter.Seq2[Unit, error] {
	return func(yield func(Unit, error) bool) {
		configs := map[string]*rest.Config{}
		for _, name := range c.Snapshot.Table.Cells() {
			access, known := c.Cells[name]
			switch {
			case c.Snapshot.Unavailable[name]:
				continue
			case !known:
				access.Err = errors.New("is in the ring, but there is no such Cell")
				fallthrough
			case access.Err != nil:
				if !yield(Unit{}, &CellError{Cell: name, Err: access.Err}) {
					return
				}
				continue
			}
			configs[name] = withTimeout(access.Config)
		}
		for unit, err := range Census(ctx, configs, c.Resources, c.Snapshot, options) {
			if !yield(unit, err) {
				return
			}
		}
	}
}

type counted struct {
	unit Unit
	err  error
}

// reader goes through one cell.
type reader struct {
	cell    string
	snap    *routing.Snapshot
	options CensusOptions
	found   chan<- counted
}

func (r *reader) read(ctx context.Context, config *rest.Config, resources []Resource) {
	err := func() error {
		// metadata asks for protobuf, and for metadata alone.
		config = metadata.ConfigFor(config)
		config.QPS, config.Burst = -1, -1
		client, err := metadata.NewForConfig(config)
		if err != nil {
			return fmt.Errorf("build metadata client: %w", err)
		}
		for _, resource := range resources {
			err := eachPage(ctx, client, resource.GroupVersionResource, r.options.Namespace,
				metav1.ListOptions{LabelSelector: r.options.Selector},
				func(page []metav1.PartialObjectMetadata) error { return r.page(ctx, resource, page) })
			if err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil && ctx.Err() == nil {
		r.send(ctx, counted{err: &CellError{Cell: r.cell, Err: err}})
	}
}

func (r *reader) page(ctx context.Context, resource Resource, page []metav1.PartialObjectMetadata) error {
	for i := range page {
		if unit, visible := r.unit(resource, &page[i]); visible {
			if err := r.send(ctx, counted{unit: unit}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) send(ctx context.Context, c counted) error {
	select {
	case r.found <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unit says which unit the object belongs to, and whether it is this cell's to show.
func (r *reader) unit(resource Resource, obj *metav1.PartialObjectMetadata) (Unit, bool) {
	if placement.SystemNamespace(obj.Namespace) {
		return Unit{}, false
	}
	status := v1alpha1.RebalanceStatus(obj.Labels[v1alpha1.LabelRebalanceStatus])
	p, placed := r.snap.Table.Lookup(resource.Key, obj.Namespace, obj.Name)
	if !placed || !shows(p, r.cell, status) {
		return Unit{}, false
	}
	return Unit{
		Key: resource.Key.Key(obj.Namespace, obj.Name), Cell: r.cell,
		Namespace: obj.Namespace, Name: obj.Name, Resource: resource.GroupVersionResource, Rule: resource.Key,
		Status: status, Placement: p,
	}, true
}

// shows is visibility by placement, the rule of the router: the old cell shows what has not moved,
// the new cell what has arrived.
func shows(p placement.Placement, cell string, status v1alpha1.RebalanceStatus) bool {
	switch status {
	case v1alpha1.Migrated, v1alpha1.Incoming:
		return false
	}
	return cell == p.Old() || cell == p.New()
}

// eachPage lists the metadata of a resource. A cell that does not serve the resource has no objects
// of it. When a list takes so long that its position expires, it goes on from the same name at a
// newer version, as the server proposes: an object may be met twice then, none that stayed is missed.
func eachPage(ctx context.Context, client metadata.Interface, resource schema.GroupVersionResource, namespace string,
	options metav1.ListOptions, visit func([]metav1.PartialObjectMetadata) error,
) error {
	options.Limit = pageSize
	for {
		list, err := client.Resource(resource).Namespace(namespace).List(ctx, options)
		var status apierrors.APIStatus
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case apierrors.IsResourceExpired(err) && errors.As(err, &status) && status.Status().Continue != "" &&
			status.Status().Continue != options.Continue:
			options.Continue = status.Status().Continue
			continue
		case err != nil:
			return fmt.Errorf("list %s: %w", resource.GroupResource(), err)
		}
		if err := visit(list.Items); err != nil {
			return err
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return nil
		}
	}
}
