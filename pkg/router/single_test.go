package router_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

func getOptions() metav1.GetOptions { return metav1.GetOptions{} }

// namespace makes a namespace of the test's own through the router.
func (b *bed) namespace(t *testing.T, name string) string {
	t.Helper()
	_, err := kube(t, b.router).CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// holders returns the control planes that have a config map, asked directly.
func (b *bed) holders(t *testing.T, namespace, name string) []string {
	t.Helper()
	var out []string
	for cell, config := range b.all() {
		_, err := kube(t, config).CoreV1().ConfigMaps(namespace).Get(t.Context(), name, getOptions())
		switch {
		case err == nil:
			out = append(out, cell)
		case !apierrors.IsNotFound(err):
			t.Fatal(err)
		}
	}
	slices.Sort(out)
	return out
}

func (b *bed) all() map[string]*rest.Config {
	out := map[string]*rest.Config{"rcp": b.rcp}
	for name, config := range b.cells {
		out[name] = config
	}
	return out
}

func TestShardedObjectsLiveWhereTheRingSays(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "single")
	snap := b.snapshot(t)
	for _, encoding := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
		t.Run(encoding, func(t *testing.T) {
			config := rest.CopyConfig(b.router)
			config.ContentType = encoding
			maps := kube(t, config).CoreV1().ConfigMaps(ns)
			used := map[string]bool{}
			for i := range 12 {
				name := fmt.Sprintf("%c-%d", encoding[len(encoding)-1], i)
				created, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"k": "1"}}, metav1.CreateOptions{})
				if err != nil {
					t.Fatal(err)
				}
				p, _ := snap.Table.Lookup(placement.NamespacedName, ns, name)
				if got := b.holders(t, ns, name); !slices.Equal(got, []string{p.Old()}) {
					t.Errorf("%s is in %v; want %s alone", name, got, p.Old())
				}
				used[p.Old()] = true

				created.Data["k"] = "2"
				if _, err := maps.Update(t.Context(), created, metav1.UpdateOptions{}); err != nil {
					t.Errorf("update %s: %v", name, err)
				}
				if _, err := maps.Update(t.Context(), created, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
					t.Errorf("update %s with an old version: %v; want a conflict", name, err)
				}
				if _, err := maps.Patch(t.Context(), name, types.MergePatchType, []byte(`{"data":{"p":"3"}}`), metav1.PatchOptions{}); err != nil {
					t.Errorf("patch %s: %v", name, err)
				}
				got, err := maps.Get(t.Context(), name, getOptions())
				if err != nil || got.Data["k"] != "2" || got.Data["p"] != "3" {
					t.Errorf("get %s = %v, %v; want k=2 p=3", name, got.Data, err)
				}
				if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
					t.Errorf("delete %s: %v", name, err)
				}
				if got := b.holders(t, ns, name); len(got) != 0 {
					t.Errorf("%s is still in %v after its deletion", name, got)
				}
			}
			if len(used) != 3 {
				t.Errorf("twelve objects were placed in %v only; the test proves little", used)
			}
		})
	}
}

func TestGenerateNameIsDrawnByTheRouter(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "generate")
	snap := b.snapshot(t)
	for _, encoding := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
		config := rest.CopyConfig(b.router)
		config.ContentType = encoding
		maps := kube(t, config).CoreV1().ConfigMaps(ns)
		for range 6 {
			created, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "g-"}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			p, _ := snap.Table.Lookup(placement.NamespacedName, ns, created.Name)
			if got := b.holders(t, ns, created.Name); !slices.Equal(got, []string{p.Old()}) {
				t.Errorf("%s is in %v; want %s alone", created.Name, got, p.Old())
			}
		}
	}
}

func TestSystemNamespacesAreTheRCPs(t *testing.T) {
	b := newBed(t)
	maps := kube(t, b.router).CoreV1().ConfigMaps("kube-system")
	if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "of-the-system"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := b.holders(t, "kube-system", "of-the-system"); !slices.Equal(got, []string{"rcp"}) {
		t.Errorf("it is in %v; want the RCP alone", got)
	}
}

// TestFieldsAreValidatedByTheCell, which says in its own words what it does not know.
func TestFieldsAreValidatedByTheCell(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "validation")
	cell, _ := b.cellOf(t, ns, "x")
	for validation, code := range map[string]int{"Strict": http.StatusBadRequest, "Warn": http.StatusCreated, "Ignore": http.StatusCreated} {
		path := "/api/v1/namespaces/" + ns + "/configmaps?dryRun=All&fieldValidation=" + validation
		got, warnings := makeMap(t, b.router, path)
		want, wantWarnings := makeMap(t, b.cells[cell], path)
		if want.Code != int32(code) && code >= http.StatusBadRequest || (len(wantWarnings) > 0) != (validation == "Warn") {
			t.Fatalf("%s: the cell itself says %+v, and warns %q", validation, want, wantWarnings)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-cell +router):\n%s", validation, diff)
		}
		if diff := cmp.Diff(wantWarnings, warnings); diff != "" {
			t.Errorf("%s: warnings (-cell +router):\n%s", validation, diff)
		}
	}
}

// makeMap makes a config map that has a field too much. It returns the kind or the refusal, and the warnings.
func makeMap(t *testing.T, config *rest.Config, path string) (status metav1.Status, warnings []string) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, config.Host+path, strings.NewReader(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"date":{"k":"v"}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", runtime.ContentTypeJSON)
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	status.ListMeta = metav1.ListMeta{} // an object's, which has its version there
	return status, answer.Header.Values("Warning")
}

func TestARawPathReachesOneCell(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "raw")
	snap := b.snapshot(t)
	p, _ := snap.Table.Lookup(placement.NamespacedName, ns, "x")
	if _, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for cell := range b.cells {
		config := rest.CopyConfig(b.router)
		config.Host += "/cells/" + cell
		_, err := kube(t, config).CoreV1().ConfigMaps(ns).Get(t.Context(), "x", getOptions())
		if holds := err == nil; holds != (cell == p.Old()) {
			t.Errorf("/cells/%s: %v; the object is in %s", cell, err, p.Old())
		}
	}
	config := rest.CopyConfig(b.router)
	config.Host += "/cells/nowhere"
	_, err := kube(t, config).CoreV1().ConfigMaps(ns).Get(t.Context(), "x", getOptions())
	if !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("/cells/nowhere: %v; want not found", err)
	}
}
