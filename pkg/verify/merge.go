package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// cursor goes through the list of one resource in one cell. The next page is read while one is gone through.
type cursor struct {
	cell     string
	resource migration.Resource
	page     []metav1.PartialObjectMetadata
	at       int
	coming   chan answer
	held     *atomic.Int64
}

type answer struct {
	page []metav1.PartialObjectMetadata
	err  error
}

// fetch begins to read pages, until there are no more or ctx ends.
func (c *cursor) fetch(ctx context.Context, pages *migration.Pages) {
	c.coming = make(chan answer)
	go func() { // ends with the list, or with ctx
		defer close(c.coming)
		for {
			page, err := pages.Next(ctx)
			c.held.Add(int64(len(page)))
			select {
			case c.coming <- answer{page, err}:
			case <-ctx.Done():
				return
			}
			if err != nil || page == nil {
				return
			}
		}
	}()
}

// head is the object that the cursor is at, nil at the end.
func (c *cursor) head() (*metav1.PartialObjectMetadata, error) {
	for c.at == len(c.page) {
		c.held.Add(-int64(len(c.page)))
		next, more := <-c.coming
		c.page, c.at = next.page, 0
		if !more || next.err != nil || next.page == nil {
			return nil, next.err
		}
	}
	return &c.page[c.at], nil
}

// keyOf orders objects as etcd does.
func keyOf(meta *metav1.PartialObjectMetadata) string { return meta.Namespace + "/" + meta.Name }

// merge shows, resource by resource, all that the cells have of one object together, in the order of its name. A cell
// that fails is lost, and the others are gone on with. The sighting is the visitor's until it returns.
func (v *verifier) merge(ctx context.Context, w *world, visit func(*sighting) error) error {
	for _, class := range []placement.Class{placement.Sharded, placement.Dependent} {
		for _, resource := range v.resources(w, class) {
			if err := v.mergeOne(ctx, w, class, resource, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// resources are those of a class that any cell serves.
func (v *verifier) resources(w *world, class placement.Class) []schema.GroupResource {
	var out []schema.GroupResource
	for _, c := range v.alive() {
		for _, r := range c.Resources(w.snap, class) {
			out = append(out, r.GroupResource())
		}
	}
	slices.SortFunc(out, func(a, b schema.GroupResource) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(out)
}

func (v *verifier) mergeOne(ctx context.Context, w *world, class placement.Class, resource schema.GroupResource, visit func(*sighting) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var cursors []*cursor
	for name, c := range v.alive() {
		if served, ok := c.Preferred(resource); ok {
			at := &cursor{cell: name, resource: served, held: &v.held}
			at.fetch(ctx, c.Pages(served, v.options.Namespace, "", v.options.PageSize))
			cursors = append(cursors, at)
		}
	}
	_, rule := w.snap.Classes.Of(resource.Group, resource.Resource, "")
	for {
		first, heads, err := v.heads(ctx, cursors)
		if err != nil || len(heads) == 0 {
			return err
		}
		s := &sighting{ref: ref{resource, first.Namespace, first.Name}, class: class, records: map[string]*record{}}
		if class == placement.Sharded {
			s.key = rule.Key(first.Namespace, first.Name)
		}
		for _, c := range heads {
			s.records[c.cell] = &record{resource: c.resource, meta: &c.page[c.at], unit: s.key}
			c.at++
		}
		if err := visit(s); err != nil {
			return fmt.Errorf("%s: %w", s.ref, err)
		}
		v.mostHeld = max(v.mostHeld, v.held.Load())
	}
}

// heads are the cursors whose object comes first, and that object.
func (v *verifier) heads(ctx context.Context, cursors []*cursor) (first *metav1.PartialObjectMetadata, out []*cursor, err error) {
	for _, c := range cursors {
		meta, err := c.head()
		switch {
		case ctx.Err() != nil:
			return nil, nil, context.Cause(ctx)
		case err != nil:
			v.lose(c.cell, err)
			continue
		case meta == nil:
			continue
		}
		order := -1
		if first != nil {
			order = strings.Compare(keyOf(meta), keyOf(first))
		}
		if order < 0 {
			first, out = meta, out[:0]
		}
		if order <= 0 {
			out = append(out, c)
		}
	}
	return first, out, nil
}

// parallel calls do for each of some, [lookAtOnce] at the same time, and returns when all have returned.
func parallel[T any](some []T, do func(T)) {
	var working sync.WaitGroup
	room := make(chan struct{}, lookAtOnce)
	for _, one := range some {
		room <- struct{}{}
		working.Go(func() {
			defer func() { <-room }()
			do(one)
		})
	}
	working.Wait()
}
