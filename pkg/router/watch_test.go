package router_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"

	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

// rootCA is a config map that each cell makes of itself in a new namespace, when it gets round to it.
const rootCA = "kube-root-ca.crt"

// events reads a watch until it has n events that are neither bookmarks nor of the root CA.
func events(t *testing.T, w watch.Interface, n int) []watch.Event {
	t.Helper()
	var out []watch.Event
	for len(out) < n {
		select {
		case e, ok := <-w.ResultChan():
			if !ok {
				t.Fatalf("the watch ended after %d events of %d", len(out), n)
			}
			if e.Type == watch.Error {
				t.Fatalf("the watch ends with %v", e.Object)
			}
			if object, err := meta.Accessor(e.Object); e.Type != watch.Bookmark && (err != nil || object.GetName() != rootCA) {
				out = append(out, e)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%d events of %d came", len(out), n)
		}
	}
	return out
}

func describeEvents(events []watch.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = string(e.Type) + " " + e.Object.(*corev1.ConfigMap).Name
	}
	return out
}

func TestAnInformerFollowsAllCells(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "informed")
	names := b.fill(t, ns, 20)
	factory := informers.NewSharedInformerFactoryWithOptions(kube(t, b.router), 0, informers.WithNamespace(ns))
	maps := factory.Core().V1().ConfigMaps()
	maps.Informer()
	ctx, stop := context.WithCancel(t.Context())
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer stop()
	if !waitForSync(t, maps.Informer().HasSynced) {
		t.Fatal("the informer never synced")
	}
	client := kube(t, b.router).CoreV1().ConfigMaps(ns)
	for i, name := range names {
		if i%3 == 0 {
			if err := client.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		m, err := client.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		m.Data = map[string]string{"round": "2"}
		if _, err := client.Update(t.Context(), m, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	b.awaitEverywhere(t, ns, rootCA)
	want := b.truth(t, ns)
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		cached := map[string]string{}
		for _, o := range maps.Informer().GetStore().List() {
			m := o.(*corev1.ConfigMap)
			cached[m.Name] = m.ResourceVersion
		}
		return cmp.Equal(want, cached), nil
	})
	if err != nil {
		t.Errorf("the cache never equals what a list shows: %v", err)
	}
}

func waitForSync(t *testing.T, synced func() bool) bool {
	t.Helper()
	return wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return synced(), nil
	}) == nil
}

// truth is what a list through the router shows: names and versions.
func (b *bed) truth(t *testing.T, ns string) map[string]string {
	t.Helper()
	list, err := kube(t, b.router).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for i := range list.Items {
		out[list.Items[i].Name] = list.Items[i].ResourceVersion
	}
	return out
}

// write makes, changes and deletes config maps that live in all cells, and returns what a watch must tell.
func (b *bed) write(t *testing.T, ns, prefix string) []string {
	t.Helper()
	client := kube(t, b.router).CoreV1().ConfigMaps(ns)
	var want []string
	for i := range 9 {
		name := fmt.Sprintf("%s-%d", prefix, i)
		m, err := client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		m.Data = map[string]string{"a": "b"}
		if _, err = client.Update(t.Context(), m, metav1.UpdateOptions{}); err != nil {
			t.Fatalf("update with the version that the create returned: %v", err)
		}
		if err = client.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		want = append(want, "ADDED "+name, "MODIFIED "+name, "DELETED "+name)
	}
	return want
}

func TestAWatchFromAListMissesNothingAndRepeatsNothing(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "exact")
	b.fill(t, ns, 5)
	client := kube(t, b.router).CoreV1().ConfigMaps(ns)
	list, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := b.write(t, ns, "later")
	w, err := client.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	got := describeEvents(events(t, w, len(want)))
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestABookmarkIsAPositionToGoOnFrom(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "bookmarked")
	client := kube(t, b.router).CoreV1().ConfigMaps(ns)
	w, err := client.Watch(t.Context(), metav1.ListOptions{AllowWatchBookmarks: true})
	if err != nil {
		t.Fatal(err)
	}
	want := b.write(t, ns, "first")
	var position string
	seen := 0
	for seen < len(want) || position == "" {
		e, ok := <-w.ResultChan()
		switch {
		case !ok:
			t.Fatal("the watch ended")
		case e.Type == watch.Bookmark:
			position = e.Object.(*corev1.ConfigMap).ResourceVersion
		case e.Object.(*corev1.ConfigMap).Name != rootCA:
			seen++
			position = ""
		}
	}
	w.Stop()
	want = b.write(t, ns, "second")
	w, err = client.Watch(t.Context(), metav1.ListOptions{ResourceVersion: position})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	got := describeEvents(events(t, w, len(want)))
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestAWatchEndsAfterItsTime in order, for several cells and for one.
func TestAWatchEndsAfterItsTime(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "timely")
	names := b.fill(t, ns, 6)
	seconds := int64(3) // more than it takes to tell what there is
	for what, selector := range map[string]string{"several cells": "", "one cell": "metadata.name=" + names[0]} {
		ctx, cancel := context.WithTimeout(t.Context(), pollTimeout)
		defer cancel()
		w, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Watch(ctx, metav1.ListOptions{TimeoutSeconds: &seconds, FieldSelector: selector})
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for e := range w.ResultChan() {
			if seen++; e.Type != watch.Added {
				t.Errorf("%s: event %s %v", what, e.Type, e.Object)
			}
		}
		if ctx.Err() != nil || seen == 0 {
			t.Errorf("%s: %d events, and then %v; want it to end by itself", what, seen, ctx.Err())
		}
	}
}

// Any number of watches show the events of all cells in one order, and one can begin at any event of
// another.
func TestWatchesAgreeOnTheOrderOfEvents(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "ordered")
	client := kube(t, b.router).CoreV1().ConfigMaps(ns)
	list, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	begin := func(from string) watch.Interface {
		w, err := client.Watch(t.Context(), metav1.ListOptions{ResourceVersion: from})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
		return w
	}
	first, second := begin(list.ResourceVersion), begin(list.ResourceVersion)
	n := len(b.write(t, ns, "o"))
	want := versions(events(t, first, n))
	if diff := cmp.Diff(want, versions(events(t, second, n))); diff != "" {
		t.Errorf("two watches differ: %s", diff)
	}
	for i, from := range want[:n-1] {
		if diff := cmp.Diff(want[i+1:], versions(events(t, begin(from), n-1-i))); diff != "" {
			t.Errorf("a watch from event %d differs: %s", i, diff)
		}
	}
}

func versions(events []watch.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.Object.(*corev1.ConfigMap).ResourceVersion
	}
	return out
}

func TestVersionsOfAnObjectGrow(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "grow")
	client := kube(t, b.router).CoreV1().ConfigMaps(ns)
	m, err := client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		last := m.ResourceVersion
		m.Data = map[string]string{"i": fmt.Sprint(i)}
		if m, err = client.Update(t.Context(), m, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if c, err := resourceversion.CompareResourceVersion(last, m.ResourceVersion); err != nil || c >= 0 {
			t.Errorf("%s is followed by %s: %v", last, m.ResourceVersion, err)
		}
	}
	list, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := resourceversion.CompareResourceVersion(m.ResourceVersion, list.ResourceVersion); err != nil || c >= 0 {
		t.Errorf("an object's %s is not below its list's %s: %v", m.ResourceVersion, list.ResourceVersion, err)
	}
}

func TestWhereAWatchCannotBegin(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "nowhere")
	path := "/api/v1/namespaces/" + ns + "/configmaps?watch=1&timeoutSeconds=2&resourceVersion="
	for _, tc := range []struct {
		name, version string
		code          int
		want          string
	}{
		{"garbage", "garbage", http.StatusBadRequest, "BadRequest"},
		{"leading zero", "01234567", http.StatusBadRequest, "BadRequest"},
		{"from one control plane", "5", http.StatusBadRequest, "BadRequest"},
		{"from a cell that there never was", version.Object{Raw: 5, Slot: 900}.String(), http.StatusOK, `"reason":"Expired"`},
		{"a list of fewer cells", version.Vector{0, 5}.String(), http.StatusOK, `"reason":"Expired"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, body := get(t, b.router, path+tc.version, "")
			if code != tc.code || !strings.Contains(body, tc.want) {
				t.Errorf("%d %s; want %d with %s", code, body, tc.code, tc.want)
			}
		})
	}
}

// TestAWatchFromWhatIsForgottenHasExpired: of events an apiserver remembers nothing beside its etcd.
func TestAWatchFromWhatIsForgottenHasExpired(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "forgotten")
	client := kube(t, b.router).CoreV1().Events(ns)
	list, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Each cell has to have something newer than what is compacted.
	b.fill(t, ns, 12)
	planes.Compact(t)
	ctx, cancel := context.WithTimeout(t.Context(), pollTimeout)
	defer cancel()
	w, err := client.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err == nil {
		defer w.Stop()
		event := <-w.ResultChan() // which is closed with ctx
		if event.Type != watch.Error {
			t.Fatalf("event = %v; want an error", event)
		}
		err = apierrors.FromObject(event.Object)
	}
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("%v; want that it has expired", err)
	}
}

// A router that stops says to each watch where it stood, and another one goes on from there.
func TestARestartCausesNoRelist(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "restart")
	b.fill(t, ns, 6)
	first, stop := startRouter(t, b.rcp, b.stateDir)
	w, err := kube(t, first).CoreV1().ConfigMaps(ns).Watch(t.Context(), metav1.ListOptions{AllowWatchBookmarks: true})
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, ns, "before")
	var last watch.Event
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	for e := range w.ResultChan() {
		last = e
	}
	<-stopped
	if last.Type != watch.Bookmark {
		t.Fatalf("the last event before the end is %s %v", last.Type, last.Object)
	}
	want := b.write(t, ns, "meanwhile")
	again, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Watch(t.Context(),
		metav1.ListOptions{ResourceVersion: last.Object.(*corev1.ConfigMap).ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Stop()
	var got []string
	for len(got) < len(want) {
		// Some of those before may not have been told when the router stopped.
		if e := describeEvents(events(t, again, 1))[0]; strings.Contains(e, "meanwhile") {
			got = append(got, e)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
