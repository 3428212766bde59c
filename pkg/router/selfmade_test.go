package router_test

import (
	"context"
	"maps"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// ownName is that of the apiserver's own Service, and of what tells where it is.
const ownName = "kubernetes"

// ownEndpoints are what an apiserver writes of its own Service where its addresses are no loopback addresses, as those of
// the tests are: by resource, without metadata.
func ownEndpoints() map[schema.GroupVersionResource]map[string]any {
	const address = "192.0.2.1"
	return map[schema.GroupVersionResource]map[string]any{
		{Version: "v1", Resource: "endpoints"}: {
			"apiVersion": "v1", "kind": "Endpoints",
			"subsets": []any{map[string]any{"addresses": []any{map[string]any{"ip": address}}}},
		},
		{Group: discoveryv1.GroupName, Version: "v1", Resource: "endpointslices"}: {
			"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
			"endpoints": []any{map[string]any{"addresses": []any{address}}},
		},
	}
}

// layOwn puts one into each control plane until the test ends. Each says in a label where it is.
func (b *bed) layOwn(t *testing.T, resource schema.GroupVersionResource, content map[string]any) {
	t.Helper()
	for plane, config := range b.all() {
		own := dyn(t, config).Resource(resource).Namespace(metav1.NamespaceDefault)
		object := &unstructured.Unstructured{Object: maps.Clone(content)}
		object.SetName(ownName)
		object.SetLabels(map[string]string{"in": plane, discoveryv1.LabelServiceName: ownName, discoveryv1.LabelSkipMirror: "true"})
		if _, err := own.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			err := own.Delete(context.Background(), ownName, metav1.DeleteOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
		})
	}
}

// homeOfOwnService is the cell whose own Service the router shows.
func (b *bed) homeOfOwnService(t *testing.T) string {
	t.Helper()
	shown, err := kube(t, b.router).CoreV1().Services(metav1.NamespaceDefault).Get(t.Context(), ownName, getOptions())
	if err != nil {
		t.Fatal(err)
	}
	for cell, config := range b.cells {
		own, err := kube(t, config).CoreV1().Services(metav1.NamespaceDefault).Get(t.Context(), ownName, getOptions())
		if err != nil {
			t.Fatal(err)
		}
		if own.UID == shown.UID {
			return cell
		}
	}
	t.Fatalf("the Service that is shown is no cell's: %s", shown.UID)
	return ""
}

// TestTheEndpointsOfTheOwnServiceShowOnce: each control plane has them under one name, with a UID and a version of its
// own. Those of the Service that is shown count.
func TestTheEndpointsOfTheOwnServiceShowOnce(t *testing.T) {
	b := newBed(t)
	home := b.homeOfOwnService(t)
	for resource, content := range ownEndpoints() {
		t.Run(resource.Resource, func(t *testing.T) {
			b.layOwn(t, resource, content)
			everywhere := dyn(t, b.router).Resource(resource)
			there := everywhere.Namespace(metav1.NamespaceDefault)
			got, err := there.Get(t.Context(), ownName, getOptions())
			if err != nil || got.GetLabels()["in"] != home {
				t.Fatalf("get: %v, %v; want that in %s", got, err, home)
			}
			named := metav1.ListOptions{FieldSelector: "metadata.name=" + ownName}
			for what, items := range map[string][]unstructured.Unstructured{
				"a list":                             listed(t, there, metav1.ListOptions{}),
				"a list of the name":                 listed(t, there, named),
				"a list of all namespaces":           listed(t, everywhere, metav1.ListOptions{}),
				"a list of the name in all of them":  listed(t, everywhere, named),
				"pages of one object":                listed(t, there, metav1.ListOptions{Limit: 1}),
				"pages of one, of all namespaces":    listed(t, everywhere, metav1.ListOptions{Limit: 1}),
				"a watch that begins with all":       toldBy(t, there),
				"a watch of all namespaces does too": toldBy(t, everywhere),
			} {
				if len(items) != 1 || items[0].GetUID() != got.GetUID() {
					t.Errorf("%s has %v; want that in %s alone", what, items, home)
				}
			}
			b.writeOwn(t, resource, home)
		})
	}
}

// listed are those of the name in a list, page by page.
func listed(t *testing.T, of dynamic.ResourceInterface, options metav1.ListOptions) (out []unstructured.Unstructured) {
	t.Helper()
	for {
		list, err := of.List(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		if n := list.GetRemainingItemCount(); n != nil {
			t.Errorf("%d items remain, it says; what does not show is counted there", *n)
		}
		for _, item := range list.Items {
			if item.GetName() == ownName && item.GetNamespace() == metav1.NamespaceDefault {
				out = append(out, item)
			}
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return out
		}
	}
}

// toldBy are those of the name among what a watch says that there is.
func toldBy(t *testing.T, of dynamic.ResourceInterface) (out []unstructured.Unstructured) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pollTimeout)
	defer cancel()
	w, err := of.Watch(ctx, metav1.ListOptions{
		AllowWatchBookmarks: true, SendInitialEvents: new(true), ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		item, ok := e.Object.(*unstructured.Unstructured)
		switch {
		case !ok || e.Type == watch.Error:
			t.Fatalf("the watch ended: %v", e.Object)
		case e.Type == watch.Bookmark && item.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true":
			return out
		case item.GetName() == ownName:
			out = append(out, *item)
		}
	}
	t.Fatal("the watch ended before it had told what there is")
	return nil
}

// writeOwn changes, deletes and makes one through the router: that is done at home, and nowhere else.
func (b *bed) writeOwn(t *testing.T, resource schema.GroupVersionResource, home string) {
	t.Helper()
	through := dyn(t, b.router).Resource(resource).Namespace(metav1.NamespaceDefault)
	written := func(own *unstructured.Unstructured) bool { return own != nil && own.GetLabels()["round"] == "2" }
	patch := []byte(`{"metadata":{"labels":{"round":"2"}}}`)
	changed, err := through.Patch(t.Context(), ownName, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.wantOwn(t, resource, home, written)
	if err := through.Delete(t.Context(), ownName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := through.Get(t.Context(), ownName, getOptions()); !apierrors.IsNotFound(err) {
		t.Errorf("get of what was deleted: %v; want that it is not found, though other cells have theirs", err)
	}
	b.wantOwn(t, resource, home, func(own *unstructured.Unstructured) bool { return own == nil })
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp"} {
		unstructured.RemoveNestedField(changed.Object, "metadata", field)
	}
	if _, err := through.Create(t.Context(), changed, metav1.CreateOptions{}); err != nil {
		t.Errorf("create where only other cells have theirs: %v", err)
	}
	b.wantOwn(t, resource, home, written)
}

// wantOwn looks into each control plane: so is what home has, nil for nothing, and that of no other.
func (b *bed) wantOwn(t *testing.T, resource schema.GroupVersionResource, home string, is func(*unstructured.Unstructured) bool) {
	t.Helper()
	for plane, config := range b.all() {
		own, err := dyn(t, config).Resource(resource).Namespace(metav1.NamespaceDefault).Get(t.Context(), ownName, getOptions())
		if apierrors.IsNotFound(err) {
			own, err = nil, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, want := is(own), plane == home; got != want {
			t.Errorf("%s of %s: written is %v, want %v: %v", resource.Resource, plane, got, want, own)
		}
	}
}
