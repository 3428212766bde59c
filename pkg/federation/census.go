package federation

import (
	"context"
	"fmt"
	"iter"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

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
// sharded, and what every control plane makes for itself is no workload: a rebalance moves neither. Only metadata is read, a page at a time; what is kept is one string per key.
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
		_ = r.send(ctx, counted{err: &CellError{Cell: r.cell, Err: err}})
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
	if placement.SystemNamespace(obj.Namespace) || placement.IsSelfMade(resource.Group, resource.Resource, obj.Namespace, obj.Name) {
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
