package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

// cellOf is the cell that the ring names for an object, and its slot.
func (b *bed) cellOf(t *testing.T, namespace, name string) (string, int) {
	t.Helper()
	snap := b.snapshot(t)
	p, ok := snap.Table.Lookup(placement.NamespacedName, namespace, name)
	if !ok {
		t.Fatalf("%s/%s has no place", namespace, name)
	}
	return p.Old(), snap.Slots[p.Old()]
}

// shown parses a version as a router shows it of an object.
func shown(t *testing.T, s string) version.Object {
	t.Helper()
	v, err := version.Parse(s)
	if err != nil || v.Object == nil {
		t.Fatalf("%q is no version of an object: %v", s, err)
	}
	return *v.Object
}

// conditionalWrite writes a deployment on the condition that it has a version.
type conditionalWrite func(ctx context.Context, c kubernetes.Interface, d *appsv1.Deployment, rv string) error

func conditionalWrites() map[string]conditionalWrite {
	return map[string]conditionalWrite{
		"update": func(ctx context.Context, c kubernetes.Interface, d *appsv1.Deployment, rv string) error {
			d.ResourceVersion = rv
			d.Spec.MinReadySeconds++
			_, err := c.AppsV1().Deployments(d.Namespace).Update(ctx, d, metav1.UpdateOptions{})
			return err
		},
		"update of the status": func(ctx context.Context, c kubernetes.Interface, d *appsv1.Deployment, rv string) error {
			d.ResourceVersion = rv
			d.Status.ObservedGeneration++
			_, err := c.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, d, metav1.UpdateOptions{})
			return err
		},
		"update of the scale": func(ctx context.Context, c kubernetes.Interface, d *appsv1.Deployment, rv string) error {
			s := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: d.Namespace, ResourceVersion: rv}}
			s.Spec.Replicas = *d.Spec.Replicas + 1
			_, err := c.AppsV1().Deployments(d.Namespace).UpdateScale(ctx, d.Name, s, metav1.UpdateOptions{})
			return err
		},
		"merge patch":     patching(types.MergePatchType, `{"metadata":{"resourceVersion":%q},"spec":{"paused":true}}`, metav1.PatchOptions{}),
		"strategic patch": patching(types.StrategicMergePatchType, `{"metadata":{"resourceVersion":%q},"spec":{"paused":true}}`, metav1.PatchOptions{}),
		"apply": patching(types.ApplyPatchType, "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  resourceVersion: %q\n  annotations: {a: b}\n",
			metav1.PatchOptions{FieldManager: "test"}),
		"JSON patch that replaces the version": patching(types.JSONPatchType,
			`[{"op":"replace","path":"/metadata/resourceVersion","value":%q},{"op":"add","path":"/spec/paused","value":true}]`, metav1.PatchOptions{}),
		"delete": func(ctx context.Context, c kubernetes.Interface, d *appsv1.Deployment, rv string) error {
			return c.AppsV1().Deployments(d.Namespace).Delete(ctx, d.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &rv}})
		},
	}
}

func patching(kind types.PatchType, format string, options metav1.PatchOptions) conditionalWrite {
	return func(ctx context.Context, c kubernetes.Interface, d *appsv1.Deployment, rv string) error {
		_, err := c.AppsV1().Deployments(d.Namespace).Patch(ctx, d.Name, kind, fmt.Appendf(nil, format, rv), options)
		return err
	}
}

// TestAWriteSucceedsIfAndOnlyIfTheObjectHasNotChanged tries every kind of conditional write with every
// kind of version that a client might have kept.
func TestAWriteSucceedsIfAndOnlyIfTheObjectHasNotChanged(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "conditions")
	for _, encoding := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
		config := rest.CopyConfig(b.router)
		config.ContentType = encoding
		c := kube(t, config)
		for what, write := range conditionalWrites() {
			t.Run(encoding+" "+what, func(t *testing.T) {
				name := strings.ToLower(strings.NewReplacer(" ", "-", "/", "-").Replace(encoding[12:] + "-" + what))
				created, err := c.AppsV1().Deployments(ns).Create(t.Context(), deployment(name), metav1.CreateOptions{})
				if err != nil {
					t.Fatal(err)
				}
				at := shown(t, created.ResourceVersion)
				_, slot := b.cellOf(t, ns, name)
				if at.Slot != slot || at.Epoch != 0 {
					t.Fatalf("created with version %+v; want slot %d", at, slot)
				}
				for kind, rv := range map[string]string{
					"of another cell":           version.Object{Raw: at.Raw, Slot: slot + 1}.String(),
					"older":                     version.Object{Raw: at.Raw - 1, Slot: slot}.String(),
					"of a list":                 version.Vector{at.Raw, at.Raw, at.Raw, at.Raw}.String(),
					"of the control plane":      fmt.Sprint(at.Raw),
					"that no router would make": "7",
				} {
					if err := write(t.Context(), c, created.DeepCopy(), rv); !apierrors.IsConflict(err) {
						t.Errorf("with a version %s (%s): %v; want a conflict", kind, rv, err)
					}
				}
				// What has been read is what a write needs, and only once.
				got, err := c.AppsV1().Deployments(ns).Get(t.Context(), name, getOptions())
				if err != nil || got.ResourceVersion != created.ResourceVersion {
					t.Fatalf("get: version %s, %v; want the unchanged %s", got.ResourceVersion, err, created.ResourceVersion)
				}
				if err := write(t.Context(), c, got.DeepCopy(), got.ResourceVersion); err != nil {
					t.Errorf("with the version that was read: %v", err)
				}
				if what == "delete" {
					return
				}
				if err := write(t.Context(), c, got.DeepCopy(), got.ResourceVersion); !apierrors.IsConflict(err) {
					t.Errorf("the same a second time: %v; want a conflict", err)
				}
			})
		}
	}
}

// TestAJSONPatchTestsTheVersionThatIsShown: what the test operation compares is in the cell.
func TestAJSONPatchTestsTheVersionThatIsShown(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "jsonpatch")
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	created, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	patch := func(rv string) error {
		_, err := maps.Patch(t.Context(), "x", types.JSONPatchType, fmt.Appendf(nil,
			`[{"op":"test","path":"/metadata/resourceVersion","value":%q},{"op":"add","path":"/data","value":{"k":%q}}]`, rv, rv), metav1.PatchOptions{})
		return err
	}
	if err := patch(created.ResourceVersion); err != nil {
		t.Errorf("with the version of the answer: %v", err)
	}
	if err := patch(created.ResourceVersion); !apierrors.IsInvalid(err) {
		t.Errorf("with the version before: %v; want the test to fail, which is 422", err)
	}
}

// TestEveryFormShowsTheSameVersion reads one object in all encodings and kinds.
func TestEveryFormShowsTheSameVersion(t *testing.T) {
	b := newBed(t)
	for _, ns := range []string{b.namespace(t, "version-forms"), "kube-system"} {
		created, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "of-many-forms"}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		at := shown(t, created.ResourceVersion)
		direct, slot := b.rcp, version.RCP
		if ns != "kube-system" {
			var cell string
			cell, slot = b.cellOf(t, ns, created.Name)
			direct = b.cells[cell]
		}
		raw, err := kube(t, direct).CoreV1().ConfigMaps(ns).Get(t.Context(), created.Name, getOptions())
		if err != nil || fmt.Sprint(at.Raw) != raw.ResourceVersion || at.Slot != slot {
			t.Fatalf("shown %+v; the control plane has %s in slot %d (%v)", at, raw.ResourceVersion, slot, err)
		}
		path := "/api/v1/namespaces/" + ns + "/configmaps/of-many-forms"
		for _, accept := range []string{
			"application/json", "", "*/*", "application/yaml", "application/yaml;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
			"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
			"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1beta1", "application/json;as=Table;g=meta.k8s.io;v=v1beta1",
			"application/json;as=Table;g=meta.k8s.io;v=v1", "application/yaml, application/json",
			"application/cbor, application/json",
		} {
			code, body := get(t, b.router, path, accept)
			var object struct {
				Metadata metav1.ObjectMeta `json:"metadata"`
				Rows     []struct {
					Object metav1.PartialObjectMetadata `json:"object"`
				} `json:"rows"`
			}
			if strings.HasPrefix(body, "{") == strings.HasPrefix(accept, "application/yaml") {
				t.Errorf("%q is answered with %.40s", accept, body)
			}
			if strings.Contains(accept, "v1beta1") != strings.Contains(body, `"apiVersion":"meta.k8s.io/v1beta1"`) {
				t.Errorf("%q is answered with %s", accept, body)
			}
			if err := yaml.Unmarshal([]byte(body), &object); err != nil || code != http.StatusOK {
				t.Fatalf("%q: %d, %v", accept, code, err)
			}
			if object.Metadata.ResourceVersion != created.ResourceVersion {
				t.Errorf("%q shows version %s; want %s", accept, object.Metadata.ResourceVersion, created.ResourceVersion)
			}
			if strings.Contains(accept, "as=Table") != (len(object.Rows) == 1) {
				t.Errorf("%q is answered with %d rows", accept, len(object.Rows))
			}
			for _, row := range object.Rows {
				if row.Object.ResourceVersion != created.ResourceVersion {
					t.Errorf("%q shows version %s in a row; want %s", accept, row.Object.ResourceVersion, created.ResourceVersion)
				}
			}
		}
		if code, _ := get(t, b.router, path, "application/cbor"); code != http.StatusNotAcceptable {
			t.Errorf("CBOR alone: %d; want 406", code)
		}
	}
}

// TestATableHasTheObjectsThatAreAskedFor, in its old version too, of one object and of a list.
func TestATableHasTheObjectsThatAreAskedFor(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "table-objects")
	made, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/configmaps/x?", "/configmaps?fieldSelector=metadata.name%3Dx&"} {
		for _, v := range []string{"v1", "v1beta1"} {
			for include, kind := range map[string]string{"None": "", "%4eone": "", "Metadata": "PartialObjectMetadata", "Object": "ConfigMap"} {
				asked := path + "includeObject=" + include
				code, body := get(t, b.router, "/api/v1/namespaces/"+ns+asked, "application/json;as=Table;g=meta.k8s.io;v="+v)
				var table struct {
					metav1.TypeMeta
					Rows []struct {
						Cells  []any
						Object *metav1.PartialObjectMetadata
					}
				}
				if err := json.Unmarshal([]byte(body), &table); err != nil || code != http.StatusOK || table.APIVersion != "meta.k8s.io/"+v || len(table.Rows) != 1 {
					t.Errorf("%s in %s: %d %s, %v", asked, v, code, body, err)
					continue
				}
				row := table.Rows[0]
				if len(row.Cells) == 0 || row.Cells[0] != "x" {
					t.Errorf("%s in %s: the cells are %v", asked, v, row.Cells)
				}
				switch {
				case (row.Object == nil) != (kind == ""):
					t.Errorf("%s in %s: the row has %v", asked, v, row.Object)
				case kind != "" && (row.Object.Kind != kind || row.Object.ResourceVersion != made.ResourceVersion):
					t.Errorf("%s in %s: the row has a %s in version %s; want a %s in version %s", asked, v, row.Object.Kind, row.Object.ResourceVersion, kind, made.ResourceVersion)
				}
			}
		}
	}
}

// TestAGetMayAskForAPosition: the version of a read is a lower bound.
func TestAGetMayAskForAPosition(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "positions")
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	created, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	at := shown(t, created.ResourceVersion)
	for rv, want := range map[string]int{
		"": 200, "0": 200, created.ResourceVersion: 200,
		version.Object{Raw: 1 << 40, Slot: at.Slot + 1}.String(): 200,
		version.Vector{1 << 40, 0, 0, 0}.String():                200,
		version.Object{Raw: 1 << 40, Slot: at.Slot}.String():     504,
		"garbage": 400,
		"7":       400,
		"-1":      400,
		"99999999999999999999999999999999999999999999999999999999999999999999999": 400,
	} {
		code, body := get(t, b.router, "/api/v1/namespaces/"+ns+"/configmaps/x?resourceVersion="+rv, "")
		if code != want {
			t.Errorf("resourceVersion=%s: %d %.200s; want %d", rv, code, body, want)
		}
	}
}

// TestStatusesPassUntouched compares the answers to a delete and to a read of nothing with the cell's own.
func TestStatusesPassUntouched(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "statuses")
	cell, _ := b.cellOf(t, ns, "none")
	path := "/api/v1/namespaces/" + ns + "/configmaps/none"
	_, through := get(t, b.router, path, "")
	_, direct := get(t, b.cells[cell], path, "")
	if diff := cmp.Diff(direct, through); diff != "" {
		t.Errorf("not found (-direct +router):\n%s", diff)
	}
	if _, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "none"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(b.router)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, b.router.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var status map[string]any
	if err := json.Unmarshal(body, &status); err != nil || status["kind"] != "Status" {
		t.Fatalf("delete: %s, %v", body, err)
	}
	if diff := cmp.Diff(map[string]any{}, status["metadata"]); diff != "" {
		t.Errorf("metadata of a Status (-want +got):\n%s", diff)
	}
}

// TestNobodyForgesTheFederationsMarks tries to set, change and remove a mark in every way of writing.
func TestNobodyForgesTheFederationsMarks(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "forgery")
	cell, _ := b.cellOf(t, ns, "x")
	const mark = "kubecell.io/placement-epoch"
	_, err := kube(t, b.cells[cell]).CoreV1().ConfigMaps(ns).Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x", Annotations: map[string]string{mark: "7"}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "kubecell.io/") {
			t.Errorf("%s: %v; want forbidden, with the name of the mark", what, err)
		}
	}
	for _, encoding := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
		config := rest.CopyConfig(b.router)
		config.ContentType = encoding
		maps := kube(t, config).CoreV1().ConfigMaps(ns)
		got, err := maps.Get(t.Context(), "x", getOptions())
		if err != nil || shown(t, got.ResourceVersion).Epoch != 7 {
			t.Fatalf("get: %v, %v; want epoch 7", got, err)
		}
		got.Data = map[string]string{"k": encoding}
		if _, err := maps.Update(t.Context(), got, metav1.UpdateOptions{}); err != nil {
			t.Errorf("%s: what was read is refused when it is written back: %v", encoding, err)
		}
		got.ResourceVersion, got.Annotations[mark] = "", "8"
		_, err = maps.Update(t.Context(), got, metav1.UpdateOptions{})
		refused(encoding+": update", err)
		_, err = maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "y-", Labels: map[string]string{"kubecell.io/rebalance-status": "migrated"}}}, metav1.CreateOptions{})
		refused(encoding+": create", err)
	}
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	for patch, kind := range map[string]types.PatchType{
		`{"metadata":{"annotations":{"kubecell.io/placement-epoch":"8"}}}`:                                                                                              types.MergePatchType,
		`{"metadata":{"annotations":{"\u006bubecell.io/placement-epoch":null}}}`:                                                                                        types.StrategicMergePatchType,
		`[{"op":"remove","path":"/metadata/annotations/kubecell.io~1placement-epoch"}]`:                                                                                 types.JSONPatchType,
		`[{"op":"add","path":"/metadata/annotations","value":{"kubecell.io/placement-epoch":"8"}}]`:                                                                     types.JSONPatchType,
		`[{"op":"add","path":"/metadata/labels","value":{"kubecell.io/rebalance-status":"migrating"}}]`:                                                                 types.JSONPatchType,
		"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  annotations:\n    \"\\x6bubecell.io/backup-cell-id\": x\n  labels:\n    \"\\x6bubecell.io/backup-cell-id\": x\n": types.ApplyPatchType,
	} {
		options := metav1.PatchOptions{}
		if kind == types.ApplyPatchType {
			options.FieldManager = "test"
		}
		_, err := maps.Patch(t.Context(), "x", kind, []byte(patch), options)
		refused(patch, err)
	}
	_, err = kube(t, b.router).CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "forged", Annotations: map[string]string{"kubecell.io/replicated-from": "x"}}}, metav1.CreateOptions{})
	refused("a replicated object", err)
	if _, err := maps.Patch(t.Context(), "x", types.MergePatchType, []byte(`{"data":{"about":"kubecell.io/placement-epoch"}}`), metav1.PatchOptions{}); err != nil {
		t.Errorf("a text about the mark: %v", err)
	}
}
