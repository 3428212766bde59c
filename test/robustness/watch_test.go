package robustness

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// retryAfter is how long watchers and pollers wait when something is away.
const retryAfter = 100 * time.Millisecond

// watcher follows one kind in one place, as client-go's reflectors do: it lists, watches from there, opens the watch
// again from the last version that it saw, and lists again where that is gone. A streaming one has the list sent as the
// beginning of the watch, which is what newer reflectors do.
type watcher struct {
	access
	kind      schema.GroupVersionResource
	streaming bool
	stream    *history.Stream

	position string
	// exact says that the position is that of a list or a bookmark.
	exact bool
	// initial is what the list has so far, nil where none is being sent.
	initial map[string]history.State
}

func (b *bed) watch(a access, kind schema.GroupVersionResource, streaming bool) *watcher {
	name := a.name + " " + kind.Resource
	if streaming {
		name += " streaming"
	}
	return &watcher{access: a, kind: kind, streaming: streaming, stream: b.record.Stream(name)}
}

func (w *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := w.once(ctx); isGone(err) {
			w.position = ""
		} else if err != nil {
			sleep(ctx, retryAfter)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// once lists where there is no position, and watches until the watch ends.
func (w *watcher) once(ctx context.Context) error {
	r := w.client.Resource(w.kind).Namespace(namespace)
	options := metav1.ListOptions{AllowWatchBookmarks: true}
	w.initial = nil
	switch {
	case w.position == "" && w.streaming:
		yes := true
		options.SendInitialEvents, options.ResourceVersionMatch = &yes, metav1.ResourceVersionMatchNotOlderThan
		w.initial, w.exact = map[string]history.State{}, true
	case w.position == "":
		list, err := r.List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		w.listed(list)
	}
	options.ResourceVersion = w.position
	stream, err := r.Watch(ctx, options)
	if err != nil {
		return err
	}
	defer stream.Stop()
	w.stream.Add(history.Event{Type: history.Opened})
	if !w.exact {
		w.stream.Add(history.Event{Type: history.Resumed})
	}
	for event := range stream.ResultChan() {
		if event.Type == watch.Error {
			return apierrors.FromObject(event.Object)
		}
		w.told(event.Type, event.Object.(*unstructured.Unstructured))
	}
	return nil
}

func (w *watcher) listed(list *unstructured.UnstructuredList) {
	items := map[string]history.State{}
	for i := range list.Items {
		if key, ok := w.key(&list.Items[i]); ok {
			items[key] = stateOf(key, &list.Items[i])
		}
	}
	w.stream.Add(history.Event{Type: history.Relisted, Items: items})
	w.position, w.exact = list.GetResourceVersion(), true
}

func (w *watcher) told(kind watch.EventType, o *unstructured.Unstructured) {
	if w.initial != nil {
		w.begins(kind, o)
		return
	}
	w.position, w.exact = o.GetResourceVersion(), kind == watch.Bookmark
	if w.exact {
		w.stream.Add(history.Event{Type: history.Bookmarked, Position: w.position})
	}
	if key, ok := w.key(o); ok && !w.exact {
		w.stream.Add(history.Event{Type: history.EventType(kind), Key: key, State: stateOf(key, o), Status: statusOf(o)})
	}
}

// begins takes one more event of a list that is sent as a watch. Until all of it is there, nothing is known.
func (w *watcher) begins(kind watch.EventType, o *unstructured.Unstructured) {
	key, ok := w.key(o)
	switch {
	case kind == watch.Bookmark && o.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true":
		w.stream.Add(history.Event{Type: history.Relisted, Items: w.initial, Position: o.GetResourceVersion()})
		w.position, w.exact, w.initial = o.GetResourceVersion(), true, nil
	case kind == watch.Deleted:
		delete(w.initial, key)
	case ok && kind != watch.Bookmark:
		w.initial[key] = stateOf(key, o)
	}
}

// key is false for objects that are not of the proof.
func (w *watcher) key(o *unstructured.Unstructured) (string, bool) {
	return keyOf(w.kind, o.GetName()), o.GetAnnotations()[born] != ""
}
