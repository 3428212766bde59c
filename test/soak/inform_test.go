package soak

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// follower is one informer and what it was told.
type follower struct {
	resource  schema.GroupVersionResource
	namespace string // all where empty
	half      string // of the objects, by their label; all where empty
	informer  cache.SharedIndexInformer
	events    atomic.Int64
	lists     atomic.Int64 // how often it asked for everything
	open      atomic.Int64 // the watches that it has now
	since     atomic.Int64 // when the last of them began, in nanoseconds of Unix time

	mu sync.Mutex
	// The rest is guarded by mu.
	newest   map[string]string // the version last told, by key
	broken   []string
	refusals []string // what it was answered, and why its watches ended
}

func (f *follower) String() string {
	return fmt.Sprintf("%s in %q, half %q", f.resource.Resource, f.namespace, f.half)
}

// followers follow each resource in all namespaces, in each of them, and by a selector the objects of either label.
func followers(namespaces []string) []*follower {
	var out []*follower
	for _, resource := range followed() {
		out = append(out, &follower{resource: resource, newest: map[string]string{}})
		if resource.Resource == "namespaces" {
			continue
		}
		for _, namespace := range namespaces {
			out = append(out, &follower{resource: resource, namespace: namespace, newest: map[string]string{}})
		}
		for _, half := range halves() {
			out = append(out, &follower{resource: resource, half: half, newest: map[string]string{}})
		}
	}
	return out
}

// startInformers starts the followers and waits until all have their first list.
func startInformers(t *testing.T, s *sandboxtest.Sandbox, namespaces []string) []*follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	out := followers(namespaces)
	for _, f := range out {
		f.start(t, s.Router(t))
		running.Go(func() { f.informer.RunWithContext(ctx) })
	}
	for _, f := range out {
		if !cache.WaitForCacheSync(ctx.Done(), f.informer.HasSynced) {
			t.Fatalf("%s never synced", f)
		}
	}
	return out
}

func (f *follower) start(t *testing.T, config *rest.Config) {
	t.Helper()
	config = rest.CopyConfig(config)
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper { return counting{rt, f} })
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	resource := client.Resource(f.resource).Namespace(f.namespace)
	f.informer = cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, f.selected(o))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, f.selected(o))
		},
	}, &unstructured.Unstructured{}, 0, cache.Indexers{})
	if err := f.informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) { f.note(err.Error()) }); err != nil {
		t.Fatal(err)
	}
	_, err = f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.told(o, false) },
		UpdateFunc: func(_, o any) { f.told(o, true) },
		DeleteFunc: func(o any) {
			if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = last.Obj // the last state known: it may be as old as what was told before
			}
			f.told(o, true)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// selected asks for the follower's half.
func (f *follower) selected(o metav1.ListOptions) metav1.ListOptions {
	if f.half != "" {
		o.LabelSelector = halfLabel + "=" + f.half
	}
	return o
}

// counting counts what asks for everything, what is refused, and the watches that are open.
type counting struct {
	http.RoundTripper
	f *follower
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.RoundTripper.RoundTrip(r)
	if err != nil {
		return answer, err
	}
	query := r.URL.Query()
	watches := query.Get("watch") != ""
	if (!watches || query.Get("sendInitialEvents") == "true") && query.Get("continue") == "" {
		c.f.lists.Add(1)
	}
	switch {
	case answer.StatusCode >= http.StatusBadRequest:
		c.f.note(fmt.Sprintf("%s was answered with %s", r.URL, answer.Status))
	case watches:
		c.f.since.Store(time.Now().UnixNano())
		c.f.open.Add(1)
		answer.Body = &opened{ReadCloser: answer.Body, end: sync.OnceFunc(func() { c.f.open.Add(-1) })}
	}
	return answer, nil
}

// opened is the body of a watch.
type opened struct {
	io.ReadCloser
	end func()
}

func (o *opened) Close() error {
	o.end()
	return o.ReadCloser.Close()
}

// told judges an event: versions of an object never go back. One that is told again (a relist) is equal.
func (f *follower) told(o any, mayRepeat bool) {
	f.events.Add(1)
	object, ok := o.(*unstructured.Unstructured)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !ok {
		f.broken = append(f.broken, fmt.Sprintf("was told of a %T", o))
		return
	}
	key := object.GetNamespace() + "/" + object.GetName()
	last, now := f.newest[key], object.GetResourceVersion()
	f.newest[key] = now
	if last == "" {
		return
	}
	c, err := resourceversion.CompareResourceVersion(last, now)
	if err != nil || c > 0 || (c == 0 && !mayRepeat) {
		f.broken = append(f.broken, fmt.Sprintf("%s went from version %s to %s (%v)", key, last, now, err))
	}
}

// note takes down what went wrong with a request, but that a connection was refused or ended.
func (f *follower) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusals = append(f.refusals, time.Now().Format(time.TimeOnly)+" "+what)
}

// refused is what was noted so far.
func (f *follower) refused() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refusals
}

func (f *follower) violations() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.broken
}

// cached are the versions in the cache, by namespace and name, but for the federation's own records.
func (f *follower) cached() map[string]string {
	out := map[string]string{}
	for _, o := range f.informer.GetStore().List() {
		object := o.(*unstructured.Unstructured)
		if object.GetNamespace() != v1alpha1.Namespace {
			out[object.GetNamespace()+"/"+object.GetName()] = object.GetResourceVersion()
		}
	}
	return out
}

// fact is an object as the router must show it.
type fact struct{ namespace, half, version string }

// part is what of a resource the informer has to know.
func (f *follower) part(all map[string]fact) map[string]string {
	out := map[string]string{}
	for key, is := range all {
		if (f.namespace == "" || f.namespace == is.namespace) && (f.half == "" || f.half == is.half) {
			out[key] = is.version
		}
	}
	return out
}

// readTruth reads all followed resources directly, in every control plane, and keeps what the ring says
// counts there, under the versions that the router must show.
func readTruth(t *testing.T, s *sandboxtest.Sandbox) map[schema.GroupVersionResource]map[string]fact {
	t.Helper()
	snap := snapshot(t, s)
	planes := map[string]*rest.Config{route.RCP: s.RCP(t)}
	for _, cell := range snap.Table.Cells() {
		planes[cell] = s.Cell(t, cell)
	}
	out := map[schema.GroupVersionResource]map[string]fact{}
	for _, resource := range followed() {
		out[resource] = map[string]fact{}
		for source, config := range planes {
			client, err := dynamic.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			list, err := client.Resource(resource).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for i := range list.Items {
				o := &list.Items[i]
				if shown, ok := shownAs(t, o, resource, source, snap); ok {
					out[resource][o.GetNamespace()+"/"+o.GetName()] = fact{o.GetNamespace(), o.GetLabels()[halfLabel], shown}
				}
			}
		}
	}
	return out
}

// shownAs is the version under which the router shows an object of a control plane, and false where it
// does not count there.
func shownAs(t *testing.T, o *unstructured.Unstructured, resource schema.GroupVersionResource, source string, snap *routing.Snapshot) (string, bool) {
	t.Helper()
	if o.GetNamespace() == v1alpha1.Namespace {
		return "", false // the federation's own records go on changing
	}
	if !route.Visible(resource.Group, resource.Resource, o.GetNamespace(), o.GetName(), source, snap) {
		return "", false
	}
	if resource.Resource == "namespaces" || resource.Resource == "roles" {
		return o.GetResourceVersion(), true
	}
	raw, err := version.ParseRaw(o.GetResourceVersion())
	if err != nil {
		t.Fatal(err)
	}
	slot, ok := route.Slot(source, snap)
	if !ok {
		t.Fatalf("the ring has no slot for %s", source)
	}
	return version.Object{Raw: raw, Slot: slot}.String(), true
}
