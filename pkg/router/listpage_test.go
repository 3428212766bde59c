package router_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

// pages reads a list of config maps page by page.
func pages(t *testing.T, config *rest.Config, ns string, options metav1.ListOptions) (items []corev1.ConfigMap, versions []string) {
	t.Helper()
	maps := kube(t, config).CoreV1().ConfigMaps(ns)
	for {
		list, err := maps.List(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		if options.Limit > 0 && int64(len(list.Items)) > options.Limit {
			t.Errorf("a page of %d has %d items", options.Limit, len(list.Items))
		}
		if list.Continue != "" && int64(len(list.Items)) < options.Limit {
			t.Errorf("a page of %d has %d items, and there are more", options.Limit, len(list.Items))
		}
		if list.RemainingItemCount != nil {
			t.Errorf("%d items remain, it says; copies that do not show are counted there", *list.RemainingItemCount)
		}
		items = append(items, list.Items...)
		versions = append(versions, list.ResourceVersion)
		if options.Continue = list.Continue; options.Continue == "" {
			return items, versions
		}
		options.ResourceVersion, options.ResourceVersionMatch = "", ""
	}
}

func TestPagesSayHowManyRemain(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "remain")
	const all = 17
	secrets := kube(t, b.router).CoreV1().Secrets(ns)
	for i := range all {
		if _, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s-%02d", i)}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, encoding := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
		config := rest.CopyConfig(b.router)
		config.ContentType = encoding
		for limit := int64(1); limit <= all; limit += 3 {
			options := metav1.ListOptions{Limit: limit}
			for seen := 0; ; {
				list, err := kube(t, config).CoreV1().Secrets(ns).List(t.Context(), options)
				if err != nil {
					t.Fatal(err)
				}
				seen += len(list.Items)
				if list.Continue == "" {
					if seen != all || list.RemainingItemCount != nil {
						t.Errorf("limit %d: the list ends after %d of %d and says that %v remain", limit, seen, all, list.RemainingItemCount)
					}
					break
				}
				if list.RemainingItemCount == nil || *list.RemainingItemCount != int64(all-seen) {
					t.Errorf("limit %d: after %d of %d it says that %v remain", limit, seen, all, list.RemainingItemCount)
				}
				options.Continue = list.Continue
			}
		}
	}
}

func TestPagesMakeTheWholeList(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "pages")
	b.fill(t, ns, 23)
	b.awaitEverywhere(t, ns, "kube-root-ca.crt")
	for _, encoding := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
		config := rest.CopyConfig(b.router)
		config.ContentType = encoding
		for _, scope := range []struct {
			ns       string
			selector string
		}{{ns, ""}, {ns, "parity=odd"}, {"", "parity"}, {"", ""}} {
			options := metav1.ListOptions{LabelSelector: scope.selector}
			want, _ := pages(t, config, scope.ns, options)
			if len(want) < 11 {
				t.Fatalf("only %d config maps in %q", len(want), scope.ns)
			}
			for _, limit := range []int64{1, 2, 5, 22, 23, 24, 1000} {
				options.Limit = limit
				got, versions := pages(t, config, scope.ns, options)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s in %q by %d (-whole +pages):\n%.2000s", encoding, scope.ns, limit, diff)
				}
				if len(slices.Compact(versions)) != 1 {
					t.Errorf("by %d: the pages are of versions %v", limit, versions)
				}
			}
		}
	}
}

// TestAListGoesOnThroughAnotherRouter also shows that a page is of the moment when the list began.
func TestAListGoesOnThroughAnotherRouter(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "goeson")
	names := b.fill(t, ns, 12)
	options := metav1.ListOptions{LabelSelector: "parity", Limit: 4}
	first, err := kube(t, b.router).CoreV1().ConfigMaps(ns).List(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if err := kube(t, b.router).CoreV1().ConfigMaps(ns).Delete(t.Context(), names[9], metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	other := runRouter(t, b.rcp, t.TempDir())
	options.Continue = first.Continue
	rest, versions := pages(t, other, ns, options)
	var got []string
	for _, m := range append(first.Items, rest...) {
		got = append(got, m.Name)
	}
	if !slices.Equal(got, names) || versions[0] != first.ResourceVersion {
		t.Errorf("list has %v at %v; want %v at %s", got, versions, names, first.ResourceVersion)
	}
	// The token says where the list is, and nothing of whose: in another namespace it finds that one's.
	foreign, err := kube(t, other).CoreV1().ConfigMaps(b.namespace(t, "goeson-not")).List(t.Context(), metav1.ListOptions{LabelSelector: "parity", Continue: first.Continue})
	if err != nil || len(foreign.Items) != 0 {
		t.Errorf("in another namespace: %v, %v", foreign.Items, err)
	}
}

func TestACompactedListGoesOnAsThingsAreNow(t *testing.T) {
	t.Parallel() // it waits most of the time
	b := newBedBeside(t)
	ns := b.namespace(t, "compacted")
	names := b.fill(t, ns, 12)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	options := metav1.ListOptions{LabelSelector: "parity", Limit: 4}
	first, err := maps.List(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	// Each cell has to have something newer than what is compacted.
	b.fill(t, b.namespace(t, "compacted-later"), 12)
	if err := maps.Delete(t.Context(), names[9], metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.fill(t, b.namespace(t, "compacted-last"), 12)
	options.Continue = first.Continue
	planes.Compact(t)
	var status apierrors.APIStatus
	// An apiserver serves the past from memory until it learns, within 15 seconds, that etcd has forgotten it.
	err = wait.PollUntilContextTimeout(t.Context(), pollInterval, 2*pollTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := maps.List(ctx, options)
		var ok bool
		if status, ok = err.(apierrors.APIStatus); ok { //nolint:errorlint // as client-go gives it
			return true, nil
		}
		return false, err
	})
	if err != nil {
		t.Fatal(err)
	}
	got := status.Status()
	if got.Code != http.StatusGone || got.Reason != metav1.StatusReasonExpired || got.Continue == "" || !strings.Contains(got.Message, "inconsistent list") {
		t.Fatalf("status = %+v; want 410 with a token", got)
	}
	options.Continue = got.Continue
	rest, _ := pages(t, b.router, ns, options)
	var have []string
	for _, m := range append(first.Items, rest...) {
		have = append(have, m.Name)
	}
	if want := slices.Delete(slices.Clone(names), 9, 10); !slices.Equal(have, want) {
		t.Errorf("list went on to %v; want %v", have, want)
	}
	_, err = maps.List(t.Context(), metav1.ListOptions{ResourceVersion: first.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact})
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("exactly as it was: %v; want expired", err)
	}
}

func TestListsKnowVersions(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "versions")
	names := b.fill(t, ns, 9)
	maps := kube(t, impatient(b.router)).CoreV1().ConfigMaps(ns)
	before, err := maps.List(t.Context(), metav1.ListOptions{LabelSelector: "parity"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := version.Parse(before.ResourceVersion)
	if err != nil || v.Vector == nil {
		t.Fatalf("version of the list is %q: %v", before.ResourceVersion, err)
	}
	object := before.Items[0]
	slot := shown(t, object.ResourceVersion).Slot
	v.Vector.Set(slot, 1<<40)
	if got, err := maps.Get(t.Context(), object.Name, getOptions()); err != nil || got.ResourceVersion != object.ResourceVersion {
		t.Errorf("get has version %s, the list %s: %v", got.ResourceVersion, object.ResourceVersion, err)
	}
	if err := maps.Delete(t.Context(), names[4], metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	const (
		exact   = metav1.ResourceVersionMatchExact
		atLeast = metav1.ResourceVersionMatchNotOlderThan
	)
	tests := map[string]struct {
		version string
		match   metav1.ResourceVersionMatch
		limit   int64
		want    int // the number of items, or the code of the refusal
	}{
		"newest":                                {"", "", 0, 8},
		"exactly a list's":                      {before.ResourceVersion, exact, 0, 9},
		"exactly a list's, paged":               {before.ResourceVersion, exact, 3, 3},
		"a list's, paged, which means exactly":  {before.ResourceVersion, "", 100, 9},
		"not older than a list's":               {before.ResourceVersion, atLeast, 0, 8},
		"not older than an object's":            {object.ResourceVersion, atLeast, 0, 8},
		"an object's, which means not older":    {object.ResourceVersion, "", 0, 8},
		"exactly an object's, in several cells": {object.ResourceVersion, exact, 0, http.StatusGone},
		"not older than what is to come":        {v.Vector.String(), atLeast, 0, http.StatusGatewayTimeout},
		"an object's that is to come":           {version.Object{Raw: 1 << 40, Slot: slot}.String(), "", 0, http.StatusGatewayTimeout},
		"garbage":                               {"garbage", "", 0, http.StatusBadRequest},
		"a cell's own version":                  {"7", "", 0, http.StatusBadRequest},
		"exactly any":                           {"0", exact, 0, http.StatusUnprocessableEntity},
		"a match without version":               {"", exact, 0, http.StatusUnprocessableEntity},
		"an unknown match":                      {before.ResourceVersion, "Roughly", 0, http.StatusUnprocessableEntity},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			list, err := maps.List(t.Context(), metav1.ListOptions{LabelSelector: "parity", ResourceVersion: test.version, ResourceVersionMatch: test.match, Limit: test.limit})
			got := len(list.Items)
			if status, ok := err.(apierrors.APIStatus); ok { //nolint:errorlint // as client-go gives it
				got = int(status.Status().Code)
			}
			if got != test.want {
				t.Errorf("%d, %v; want %d", got, err, test.want)
			}
			if tooLarge := apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge); tooLarge != (test.want == http.StatusGatewayTimeout) {
				t.Errorf("%#v; too large, it says: %v", err, tooLarge)
			}
		})
	}
	cached, err := maps.List(t.Context(), metav1.ListOptions{LabelSelector: "parity", ResourceVersion: "0"})
	if err != nil || len(cached.Items) < 8 {
		t.Errorf("any: %d, %v", len(cached.Items), err)
	}
	_, err = maps.List(t.Context(), metav1.ListOptions{ResourceVersion: before.ResourceVersion, Continue: "x"})
	if !apierrors.IsBadRequest(err) {
		t.Errorf("a version with continue: %v; want 400", err)
	}
}

// TestOneSourceIsListedLikeMany compares with the control plane's own answer.
func TestOneSourceIsListedLikeMany(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "onesource")
	b.fill(t, ns, 3)
	for _, path := range []string{"/api/v1/namespaces/" + ns + "/configmaps?fieldSelector=metadata.name%3Dm-001", "/api/v1/namespaces/kube-system/configmaps"} {
		code, body := get(t, b.router, path, "")
		var list corev1.ConfigMapList
		if err := json.Unmarshal([]byte(body), &list); err != nil || code != http.StatusOK || len(list.Items) == 0 {
			t.Fatalf("%s: %d %s", path, code, body)
		}
		for _, v := range []string{list.ResourceVersion, list.Items[0].ResourceVersion} {
			if parsed, err := version.Parse(v); err != nil || parsed.Vector == nil && parsed.Object == nil {
				t.Errorf("%s: %q is no version of a router's", path, v)
			}
		}
	}
}

// TestABigAnswerIsCompressed reads it by hand: clients hide it.
func TestABigAnswerIsCompressed(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "big")
	for i := range 3 {
		_, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("big-%d", i), Labels: map[string]string{"size": "big"}},
			Data:       map[string]string{"k": strings.Repeat("v", 200<<10)},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	list, err := kube(t, b.router).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "size"})
	if err != nil || len(list.Items) != 3 {
		t.Fatalf("list has %d, %v; want 3", len(list.Items), err)
	}
	path := "/api/v1/namespaces/" + ns + "/configmaps"
	for _, path := range []string{path + "/big-0", path + "?labelSelector=size&resourceVersionMatch=Exact&resourceVersion=" + list.ResourceVersion} {
		for _, accept := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf, runtime.ContentTypeYAML} {
			whole := encoded(t, b.router, path, accept, "")
			if len(whole) < 200<<10 {
				t.Errorf("%s as %s has %d bytes", path, accept, len(whole))
			}
			unpacked, err := gzip.NewReader(bytes.NewReader(encoded(t, b.router, path, accept, "gzip")))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(unpacked); err != nil || !bytes.Equal(got, whole) {
				t.Errorf("%s as %s: %d bytes when unpacked, %v; want the same %d", path, accept, len(got), err, len(whole))
			}
		}
	}
}

// encoded is the answer to a request for a type, which has to come in an encoding: gzip, or "" for none.
func encoded(t *testing.T, config *rest.Config, path, accept, encoding string) []byte {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, config.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Accept": {accept}, "Accept-Encoding": {"identity"}}
	if encoding != "" {
		r.Header.Set("Accept-Encoding", encoding)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if got := answer.Header.Get("Content-Encoding"); err != nil || got != encoding || answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != accept {
		t.Errorf("%s as %s in %q: %d, %q in %q, %v", path, accept, encoding, answer.StatusCode, answer.Header.Get("Content-Type"), got, err)
	}
	return body
}

// cutting passes connections on to address and cuts each when so many bytes came back. It returns its own address.
func cutting(t *testing.T, address string, after int64) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", address)
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(server, client) }()
				_, _ = io.CopyN(client, server, after)
			}()
		}
	}()
	return listener.Addr().String()
}

// TestAListThatBreaksOffIsNeverShort cuts a cell off when the answer to the client has long begun, or not yet.
func TestAListThatBreaksOffIsNeverShort(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "breaksoff")
	const objects = 60
	for i := range objects {
		_, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("big-%d", i), Labels: map[string]string{"size": "big"}},
			Data:       map[string]string{"k": strings.Repeat("v", 100<<10)},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	server, err := url.Parse(b.cells["cell-2"].Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := "https://" + cutting(t, server.Host, 1<<20)
	b.setEndpoints(t.Context(), t, "cell-2", []string{proxy})
	t.Cleanup(func() { b.setEndpoints(context.Background(), t, "cell-2", nil) })
	for _, encoding := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
		config := impatient(b.router)
		config.ContentType = encoding
		maps := kube(t, config).CoreV1().ConfigMaps(ns)
		broken := 0
		err = wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
			list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "size"})
			if err == nil && len(list.Items) != objects {
				return false, fmt.Errorf("a list of %d of %d", len(list.Items), objects)
			}
			if err != nil {
				broken++
			}
			return broken == 5, nil
		})
		if err != nil {
			t.Errorf("%s: %v; want failures", encoding, err)
		}
	}
}

// TestTokensSuitCustomResources asks a control plane with a token of the router's making.
func TestTokensSuitCustomResources(t *testing.T) {
	config := planes.Configs(t)[1]
	resource := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "gadgets"}
	definition := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(gadgets), definition); err != nil {
		t.Fatal(err)
	}
	definitions := dyn(t, config).Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := definitions.Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = definitions.Delete(context.Background(), definition.GetName(), metav1.DeleteOptions{}) })
	all := dyn(t, config).Resource(resource)
	for _, namespace := range []string{"default", "kube-public"} {
		for _, name := range []string{"a", "b", "c"} {
			gadget := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": map[string]any{"name": name}}}
			err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
				_, err := all.Namespace(namespace).Create(ctx, gadget, metav1.CreateOptions{})
				return err == nil, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	list, err := all.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := version.ParseRaw(list.GetResourceVersion())
	if err != nil {
		t.Fatal(err)
	}
	for namespace, after := range map[string]string{"": "default/b", "default": "b"} {
		token, _ := merge.Token{At: version.Vector{0, raw}, After: after}.For(1)
		var got []string
		rest, err := all.Namespace(namespace).List(t.Context(), metav1.ListOptions{Continue: token})
		if err != nil {
			t.Fatal(err)
		}
		for i := range rest.Items {
			got = append(got, rest.Items[i].GetNamespace()+"/"+rest.Items[i].GetName())
		}
		want := []string{"default/c"}
		if namespace == "" {
			want = append(want, "kube-public/a", "kube-public/b", "kube-public/c")
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %s: %v; want %v", after, got, want)
		}
	}
}

const gadgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.com}
spec:
  group: example.com
  names: {kind: Gadget, listKind: GadgetList, plural: gadgets, singular: gadget}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`
