package replication

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Sharing is rcp for pushes of the same objects to several cells at once: their reads of one source are shared, so that a
// write costs the RCP a few reads and not two for each cell. Each read that is answered began after it was asked for, as
// the order of reads in a [Push] needs it. Of one object there is one read at a time: who asks during one waits for its end.
//
// The reads have ctx, and not that of whoever asks, whose end is not that of the others. Any number of goroutines may use it.
func Sharing(ctx context.Context, rcp dynamic.Interface) dynamic.Interface {
	return &sharing{Interface: rcp, ctx: ctx, reads: map[Object]*reads{}}
}

type sharing struct {
	dynamic.Interface

	ctx context.Context //nolint:containedctx // that of the pushes, which are shorter than it

	mu    sync.Mutex // guards what follows
	reads map[Object]*reads
}

func (s *sharing) Resource(resource schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return &sharedCluster{NamespaceableResourceInterface: s.Interface.Resource(resource), of: s, resource: resource}
}

// sharedCluster are the objects of a resource that have no namespace.
type sharedCluster struct {
	dynamic.NamespaceableResourceInterface

	of       *sharing
	resource schema.GroupVersionResource
}

func (r *sharedCluster) Namespace(namespace string) dynamic.ResourceInterface {
	return &sharedNamespace{r.NamespaceableResourceInterface.Namespace(namespace), r, namespace}
}

func (r *sharedCluster) Get(ctx context.Context, name string, options metav1.GetOptions, subresources ...string) (*unstructured.Unstructured, error) {
	return r.of.readsOf(Object{Resource: r.resource, Name: name}).get(ctx, func() (*unstructured.Unstructured, error) {
		return r.NamespaceableResourceInterface.Get(r.of.ctx, name, options, subresources...)
	})
}

// sharedNamespace are the objects of a resource in one namespace.
type sharedNamespace struct {
	dynamic.ResourceInterface

	cluster   *sharedCluster
	namespace string
}

func (r *sharedNamespace) Get(ctx context.Context, name string, options metav1.GetOptions, subresources ...string) (*unstructured.Unstructured, error) {
	of := r.cluster.of
	return of.readsOf(Object{Resource: r.cluster.resource, Namespace: r.namespace, Name: name}).get(ctx, func() (*unstructured.Unstructured, error) {
		return r.ResourceInterface.Get(of.ctx, name, options, subresources...)
	})
}

func (s *sharing) readsOf(o Object) *reads {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reads[o] == nil {
		s.reads[o] = &reads{}
	}
	return s.reads[o]
}

// reads of one object. There is one at a time; who asks while it is under way waits for the next, with all others that do.
type reads struct {
	mu    sync.Mutex // guards what follows
	begun *read      // the last that has begun; nil before the first
	next  *read      // the one that waits for it; nil where nobody has asked since
}

// read is one read of an object. What it found may be looked at when it is done.
type read struct {
	done chan struct{}
	obj  *unstructured.Unstructured
	err  error
}

// get reads, or waits for what a read finds that has not begun yet. The object is the caller's own.
func (r *reads) get(ctx context.Context, find func() (*unstructured.Unstructured, error)) (*unstructured.Unstructured, error) {
	next, first := r.join()
	if first {
		go r.run(next, find) // ends with find, which has the context of all of them
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-next.done:
	}
	if next.err != nil {
		return nil, next.err
	}
	return next.obj.DeepCopy(), nil
}

// join is the read that begins next, and whether this is the first to ask for it, who has to run it.
func (r *reads) join() (next *read, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first = r.next == nil
	if first {
		r.next = &read{done: make(chan struct{})}
	}
	return r.next, first
}

// run begins a read when the one before it is done.
func (r *reads) run(next *read, find func() (*unstructured.Unstructured, error)) {
	r.mu.Lock()
	before := r.begun
	r.mu.Unlock()
	if before != nil {
		<-before.done
	}
	r.mu.Lock()
	r.begun, r.next = next, nil // who asks from now on may want to see what this read does not
	r.mu.Unlock()
	next.obj, next.err = find()
	close(next.done)
}
