package replication

import (
	"context"
	"io"
	"net/url"
	"reflect"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
)

// Times between two attempts to watch: short, because a cell that is back has drifted.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// follower tells what happens to the objects of one resource in one control plane. It watches metadata
// alone and keeps nothing: whoever is told reads the object itself.
//
// It implements cache.ReflectorStore.
type follower struct {
	resource schema.GroupVersionResource
	// listed is called with all objects, at first and whenever events may have been missed.
	listed func([]*metav1.PartialObjectMetadata)
	// changed is called for each event.
	changed func(object *metav1.PartialObjectMetadata, gone bool)
	// asked is called with the outcome of each attempt to list or watch; it may be nil.
	asked func(error)
}

// run follows until ctx ends. A control plane that does not answer, or does not serve the resource, is
// asked again.
func (f *follower) run(ctx context.Context, client metadata.Interface) {
	objects := client.Resource(f.resource)
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := objects.List(ctx, options)
			f.note(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			w, err := objects.Watch(ctx, options)
			if isEmpty(w) {
				f.note(ctx, &url.Error{Op: "watch", URL: f.resource.Resource, Err: io.ErrUnexpectedEOF})
			} else {
				f.note(ctx, err)
			}
			return w, err
		},
	}
	// Jitter and steps so that the delay doubles up to the cap and stays there.
	backoff := &wait.Backoff{Duration: firstRetry, Cap: lastRetry, Factor: 2, Steps: 5, Jitter: 0.2}
	cache.NewReflectorWithOptions(source, &metav1.PartialObjectMetadata{}, f, cache.ReflectorOptions{
		Name: "replication/" + f.resource.Resource, Backoff: backoff,
	}).RunWithContext(ctx)
}

// isEmpty says whether client-go made a watch up: it takes a connection that ends before there is an answer
// for a watch without events.
func isEmpty(w watch.Interface) bool {
	return reflect.TypeOf(w) == reflect.TypeOf(watch.NewEmptyWatch())
}

func (f *follower) note(ctx context.Context, err error) {
	if f.asked != nil && ctx.Err() == nil {
		f.asked(err)
	}
}

// Add tells of a new object.
func (f *follower) Add(obj any) error { return f.tell(obj, false) }

// Update tells of a changed object.
func (f *follower) Update(obj any) error { return f.tell(obj, false) }

// Delete tells of a deleted object.
func (f *follower) Delete(obj any) error { return f.tell(obj, true) }

func (f *follower) tell(obj any, gone bool) error {
	if object, ok := obj.(*metav1.PartialObjectMetadata); ok {
		f.changed(object, gone)
	}
	return nil
}

// Replace tells of a list.
func (f *follower) Replace(list []any, _ string) error {
	objects := make([]*metav1.PartialObjectMetadata, 0, len(list))
	for _, obj := range list {
		if object, ok := obj.(*metav1.PartialObjectMetadata); ok {
			objects = append(objects, object)
		}
	}
	f.listed(objects)
	return nil
}

// Resync has nothing to do: whatever was told was kept by nobody.
func (f *follower) Resync() error { return nil }
