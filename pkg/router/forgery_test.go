package router_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

const (
	epochMark  = "kubecell.io/placement-epoch"
	statusMark = "kubecell.io/rebalance-status"
	fromMark   = "kubecell.io/promoted-from"
)

// moved makes the ring one that has moved something, until the test ends, and runs a router that knows it.
func (b *bed) moved(t *testing.T) {
	t.Helper()
	b.editRing(t, func(s *v1alpha1.RingStatus) { s.Epoch++ })
	t.Cleanup(func() { b.editRing(t, func(s *v1alpha1.RingStatus) { s.Epoch-- }) })
	b.router = runRouter(t, b.rcp, t.TempDir())
}

// send sends a body of any type to the router and returns the code and the answer.
func (b *bed) send(t *testing.T, method, path, contentType, body string) (int, string) {
	t.Helper()
	client, err := rest.HTTPClientFor(b.router)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, b.router.Host+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}

// unfenced takes the fences off the cells until the test ends: they refuse what the router's own guard lets
// through, and would hide what it does not refuse.
func (b *bed) unfenced(t *testing.T) {
	t.Helper()
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "x-", Labels: map[string]string{statusMark: "x"}}}
	for name, config := range b.cells {
		t.Cleanup(func() {
			if _, err := fence.Install(context.Background(), config); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if err := fence.Await(context.Background(), config); err != nil {
				t.Error(err)
			}
		})
		if err := fence.Remove(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	for name, config := range b.cells {
		err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
			_, err := kube(t, config).CoreV1().ConfigMaps("default").Create(ctx, object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err == nil, nil
		})
		if err != nil {
			t.Fatalf("the fence of %s stays: %v", name, err)
		}
	}
}

// marked makes an object with marks in its cell, directly, as a rebalance does.
func (b *bed) marked(t *testing.T, ns, name string) {
	t.Helper()
	b.unfenced(t)
	cell, _ := b.cellOf(t, ns, name)
	_, err := kube(t, b.cells[cell]).CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{epochMark: "7", fromMark: "c/u/1"}, Labels: map[string]string{statusMark: "migrating"}},
		Data:       map[string]string{"marked": statusMark},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// wantMarks fails the test where the object has lost one.
func (b *bed) wantMarks(t *testing.T, what, ns, name string) {
	t.Helper()
	got, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Get(t.Context(), name, getOptions())
	if err != nil {
		t.Fatal(err)
	}
	if got.Annotations[epochMark] != "7" || got.Annotations[fromMark] != "c/u/1" || got.Labels[statusMark] != "migrating" || shown(t, got.ResourceVersion).Epoch != 7 {
		t.Fatalf("%s: left are annotations %v, labels %v, version %s", what, got.Annotations, got.Labels, got.ResourceVersion)
	}
}

// TestNoPatchDropsMarks takes marks away without naming them, and sets them in types that a parser may not know.
func TestNoPatchDropsMarks(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "droppedmarks")
	b.marked(t, ns, "x")
	b.moved(t)
	path := "/api/v1/namespaces/" + ns + "/configmaps/x"
	for _, test := range []struct{ contentType, body string }{
		{"application/merge-patch+json", `{"metadata":{"annotations":null}}`},
		{"application/merge-patch+json", `{"metadata":{"labels":null}}`},
		{"application/merge-patch+json", `{"metadata":{"annotations":{"kubecell.io/promoted-from":"c/u/2"}}}`},
		{"application/merge-patch+json", `{"metadata":{"labels":{"a":"b"},"labels":null}}`},
		{"application/merge-patch+json", `{"metadata":null}`},
		{"application/merge-patch+json; x", `{"metadata":{"labels":{"kubecell.io/rebalance-status":"migrated"}}}`},
		{"application/strategic-merge-patch+json", `{"metadata":{"annotations":null}}`},
		{"application/strategic-merge-patch+json", `{"metadata":{"annotations":{"$patch":"replace","a":"b"}}}`},
		{"application/strategic-merge-patch+json", `{"metadata":{"annotations":{"$retainKeys":["a"],"a":"b"}}}`},
		{"application/strategic-merge-patch+json", `{"metadata":{"labels":{"\u0024patch":"delete"}}}`},
		{"application/strategic-merge-patch+json", `{"metadata":{"$retainKeys":["name"],"name":"x"}}`},
		{"application/strategic-merge-patch+json", `{"$patch":"replace","metadata":{"name":"x"}}`},
		{"application/json-patch+json", `[{"op":"remove","path":"/metadata/annotations"}]`},
		{"application/json-patch+json", `[{"op":"remove","path":"/metadata"}]`},
		{"application/json-patch+json", `[{"op":"replace","path":"/metadata/labels","value":{"a":"b"}}]`},
		{"application/json-patch+json", `[{"op":"add","path":"x/metadata/labels","value":{}}]`},
		{"application/json-patch+json", `[{"op":"replace","path":"/metadata","value":{"name":"x"}}]`},
		{"application/json-patch+json", `[{"op":"replace","path":"","value":{"metadata":{"name":"x"}}}]`},
		{"application/json-patch+json", `[{"op":"move","from":"/metadata/annotations","path":"/data"}]`},
		{"application/json-patch+json", `[{"op":"copy","from":"/data","path":"/metadata/labels"}]`},
		{"application/json-patch+json", `[{"op":"copy","from":"/data/marked","path":"/metadata/labels/kubecell.io~1rebalance-status"}]`},
		{"application/json-patch+json; x", `[{"op":"add","path":"/metadata/labels","value":{"kubecell.io/rebalance-status":"migrated"}}]`},
	} {
		if code, answer := b.send(t, http.MethodPatch, path, test.contentType, test.body); code != http.StatusForbidden {
			t.Errorf("%s %s: %d %.300s; want 403", test.contentType, test.body, code, answer)
		}
		b.wantMarks(t, test.body, ns, "x")
	}
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	b.fill(t, ns, 1)
	for body, kind := range map[string]types.PatchType{
		`{"metadata":{"annotations":null}}`:                                     types.MergePatchType,
		`[{"op":"add","path":"/metadata/annotations","value":{"a":"b"}}]`:       types.JSONPatchType,
		`{"metadata":{"labels":{"$patch":"replace","parity":"even"}}}`:          types.StrategicMergePatchType,
		`[{"op":"replace","path":"/metadata/labels/parity","value":"neither"}]`: types.JSONPatchType,
	} {
		if _, err := maps.Patch(t.Context(), "m-000", kind, []byte(body), metav1.PatchOptions{}); err != nil {
			t.Errorf("of an object without marks: %s: %v", body, err)
		}
	}
}

// TestAReplacedObjectKeepsItsMarks writes manifests that know nothing of marks over an object that has some.
func TestAReplacedObjectKeepsItsMarks(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "replacedmarks")
	b.marked(t, ns, "x")
	b.moved(t)
	for _, encoding := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
		config := rest.CopyConfig(b.router)
		config.ContentType = encoding
		put := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x", Labels: map[string]string{"a": "b"}}, Data: map[string]string{"k": encoding}}
		got, err := kube(t, config).CoreV1().ConfigMaps(ns).Update(t.Context(), put, metav1.UpdateOptions{})
		if err != nil || got.Data["k"] != encoding || got.Labels["a"] != "b" || shown(t, got.ResourceVersion).Epoch != 7 {
			t.Errorf("%s: %v, %v; want what was written, with epoch 7", encoding, got, err)
		}
		b.wantMarks(t, encoding, ns, "x")
	}
	path := "/api/v1/namespaces/" + ns + "/configmaps/x"
	manifest := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {k: of YAML}\n"
	if code, body := b.send(t, http.MethodPut, path, runtime.ContentTypeYAML, manifest); code != http.StatusOK {
		t.Errorf("YAML: %d %s", code, body)
	}
	b.wantMarks(t, "YAML", ns, "x")
	manifest = `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x","labels":{"kubecell.io/rebalance-status":null}}}`
	if code, body := b.send(t, http.MethodPut, path, runtime.ContentTypeJSON, manifest); code != http.StatusForbidden {
		t.Errorf("a null for a mark: %d %s; want 403", code, body)
	}
	b.wantMarks(t, "a null for a mark", ns, "x")
}

// TestAWriteOfAnObjectAsItWasIsNoForgery writes back what was read before the object moved, or before another one got
// its name: the marks in it are not those of now, and the answer is an apiserver's.
func TestAWriteOfAnObjectAsItWasIsNoForgery(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "stalemarks")
	b.marked(t, ns, "x")
	b.moved(t)
	for _, encoding := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
		config := rest.CopyConfig(b.router)
		config.ContentType = encoding
		maps := kube(t, config).CoreV1().ConfigMaps(ns)
		now, err := maps.Get(t.Context(), "x", getOptions())
		if err != nil {
			t.Fatal(err)
		}
		was := now.DeepCopy()
		was.Annotations[epochMark] = "5"
		if _, err := maps.Update(t.Context(), was, metav1.UpdateOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("%s: a forged mark: %v; want forbidden", encoding, err)
		}
		earlier := shown(t, now.ResourceVersion)
		earlier.Epoch, earlier.Raw = 5, earlier.Raw-1
		was.ResourceVersion = earlier.String()
		if _, err := maps.Update(t.Context(), was, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			t.Errorf("%s: as it was: %v; want a conflict", encoding, err)
		}
		delete(was.Annotations, epochMark)
		was.Labels[statusMark] = "migrated"
		if _, err := maps.Update(t.Context(), was, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			t.Errorf("%s: as it was, with another label: %v; want a conflict", encoding, err)
		}
		was.Name = "gone"
		if _, err := maps.Update(t.Context(), was, metav1.UpdateOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s: of an object that is gone: %v; want not found", encoding, err)
		}
		b.wantMarks(t, encoding, ns, "x")
	}
	stale := `{"metadata":{"resourceVersion":"1001","annotations":{"kubecell.io/placement-epoch":"5"}}}`
	path := "/api/v1/namespaces/" + ns + "/configmaps/x"
	if code, answer := b.send(t, http.MethodPatch, path, "application/merge-patch+json", stale); code != http.StatusConflict {
		t.Errorf("a patch of it as it was: %d %s; want 409", code, answer)
	}
	b.wantMarks(t, "a patch", ns, "x")
}

// TestAppliedMarksStay: a manager that once applied a mark, and alone owns it, applies without it.
func TestAppliedMarksStay(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "appliedmarks")
	b.unfenced(t)
	b.moved(t)
	const with = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  annotations: {kubecell.io/placement-epoch: '7', kubecell.io/promoted-from: c/u/1}\n  labels: {kubecell.io/rebalance-status: migrating}\n"
	const without = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata: {k: v}\n"
	cell, _ := b.cellOf(t, ns, "x")
	options := metav1.PatchOptions{FieldManager: "owner"}
	if _, err := kube(t, b.cells[cell]).CoreV1().ConfigMaps(ns).Patch(t.Context(), "x", types.ApplyPatchType, []byte(with), options); err != nil {
		t.Fatal(err)
	}
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	for _, manager := range []string{"other", "owner", "owner"} {
		options.FieldManager = manager
		got, err := maps.Patch(t.Context(), "x", types.ApplyPatchType, []byte(without), options)
		if err != nil || got.Data["k"] != "v" {
			t.Errorf("apply as %s: %v, %v", manager, got, err)
		}
		b.wantMarks(t, "apply as "+manager, ns, "x")
	}
}

// TestUnknownBodiesAreNotPassedOn: what the router cannot look into is refused, in the apiserver's words.
func TestUnknownBodiesAreNotPassedOn(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "unknownbodies")
	name := b.fill(t, ns, 1)[0]
	cell, _ := b.cellOf(t, ns, name)
	direct := &bed{router: b.cells[cell]}
	path := "/api/v1/namespaces/" + ns + "/configmaps"
	for _, test := range []struct {
		method, path, contentType string
		want                      int
	}{
		{http.MethodPut, path + "/" + name, "application/json; x", 415},
		{http.MethodPut, path + "/" + name, "text/plain", 415},
		{http.MethodPut, path + "/" + name, "application/merge-patch+json", 415},
		{http.MethodPost, path, "application/json; x", 415},
		{http.MethodPatch, path + "/" + name, "application/json; x", 415},
		{http.MethodPatch, path + "/" + name, "Application/Merge-Patch+JSON", 415},
		{http.MethodPatch, path + "/" + name, "application/merge-patch+json ;", 415},
		{http.MethodPatch, path + "/" + name, "application/merge-patch+json;", 200},
		{http.MethodDelete, path + "/" + name + "?dryRun=All", "text/plain", 415},
		{http.MethodDelete, path + "?dryRun=All", "text/plain", 415},
	} {
		through, body := b.send(t, test.method, test.path, test.contentType, `{"metadata":{}}`)
		want, answer := direct.send(t, test.method, test.path, test.contentType, `{"metadata":{}}`)
		if through != test.want || through != want {
			t.Errorf("%s %q: %d %.200s; the cell says %d %.200s, want %d", test.method, test.contentType, through, body, want, answer, test.want)
		}
	}
	code, body := b.send(t, http.MethodPatch, path+"/"+name, "application/merge-patch+json; x",
		`{"metadata":{"labels":{"kubecell.io/rebalance-status":"migrated"}}}`)
	if code != http.StatusForbidden {
		t.Errorf("a mark in a type with a broken parameter: %d %s; want 403", code, body)
	}
	if _, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Get(t.Context(), name, getOptions()); apierrors.IsNotFound(err) {
		t.Error("a dry run deletes")
	}
}
