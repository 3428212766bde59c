package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// fill makes n config maps in a namespace through the router and returns their names, sorted.
func (b *bed) fill(t *testing.T, ns string, n int) []string {
	t.Helper()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("m-%03d", i))
		_, err := kube(t, b.router).CoreV1().ConfigMaps(ns).Create(t.Context(),
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: names[i], Labels: map[string]string{"parity": []string{"even", "odd"}[i%2]}}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// get asks the router for a path with an Accept header and returns status and body.
func get(t *testing.T, config *rest.Config, path, accept string) (int, string) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, config.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
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
	return answer.StatusCode, string(body)
}

func TestListShowsEveryObjectOnce(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "list")
	want := b.fill(t, ns, 30)
	// Every control plane puts its own copy of this one into every namespace; one of them counts.
	b.awaitEverywhere(t, ns, "kube-root-ca.crt")
	want = append([]string{"kube-root-ca.crt"}, want...)

	list, err := kube(t, b.router).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	if !slices.Equal(names, want) {
		t.Errorf("list has %v;\nwant %v", names, want)
	}
	selected, err := kube(t, b.router).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "parity=odd"})
	if err != nil || len(selected.Items) != 15 {
		t.Errorf("selected %d, %v; want 15", len(selected.Items), err)
	}
	one, err := kube(t, b.router).CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=m-007,metadata.namespace=list"})
	if err != nil || len(one.Items) != 1 {
		t.Errorf("one name over all namespaces: %d, %v; want 1", len(one.Items), err)
	}
}

// awaitEverywhere waits until every cell has a config map of its own making.
func (b *bed) awaitEverywhere(t *testing.T, ns, name string) {
	t.Helper()
	for cell, config := range b.cells {
		err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
			_, err := kube(t, config).CoreV1().ConfigMaps(ns).Get(ctx, name, getOptions())
			return err == nil, nil
		})
		if err != nil {
			t.Fatalf("%s has no %s/%s: %v", cell, ns, name, err)
		}
	}
}

func TestListSpeaksEveryForm(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "forms")
	b.fill(t, ns, 9)
	path := "/api/v1/namespaces/" + ns + "/configmaps?labelSelector=parity"
	const table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

	code, body := get(t, b.router, path, table)
	var got metav1.Table
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != http.StatusOK || len(got.Rows) != 9 || len(got.ColumnDefinitions) == 0 {
		t.Errorf("table: %d, %v, %d rows; want 200 and 9", code, err, len(got.Rows))
	}
	code, body = get(t, b.router, path+"&includeObject=None", table)
	if code != http.StatusOK || strings.Contains(body, `"object":{`) || strings.Count(body, `"cells"`) != 9 {
		t.Errorf("table without objects: %d %s", code, body)
	}
	for _, v := range []string{"v1", "v1beta1"} {
		code, body = get(t, b.router, path, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v="+v)
		if code != http.StatusOK || !strings.Contains(body, `"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/`+v+`"`) || strings.Count(body, `"uid"`) != 9 {
			t.Errorf("metadata in %s: %d %s", v, code, body)
		}
	}
	code, body = get(t, b.router, path, "application/yaml")
	var list corev1.ConfigMapList
	if err := yaml.UnmarshalStrict([]byte(body), &list); err != nil || code != http.StatusOK || len(list.Items) != 9 || list.Kind != "ConfigMapList" {
		t.Errorf("YAML: %d, %v, %d items", code, err, len(list.Items))
	}
	if code, body = get(t, b.router, path+"&continue=garbage", ""); code != http.StatusBadRequest || !strings.Contains(body, "continue key is not valid") {
		t.Errorf("garbage continue: %d %s; want 400", code, body)
	}
	if code, body = get(t, b.router, path, "application/cbor"); code != http.StatusNotAcceptable {
		t.Errorf("CBOR alone: %d %s; want 406", code, body)
	}
	config := rest.CopyConfig(b.router)
	config.ContentType = runtime.ContentTypeProtobuf
	got2, err := kube(t, config).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "parity"})
	if err != nil || len(got2.Items) != 9 {
		t.Errorf("protobuf: %v", err)
	}
}

func TestListOverAllNamespacesHasTheSystems(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "everywhere")
	for _, namespace := range []string{ns, "kube-system"} {
		_, err := kube(t, b.router).AppsV1().Deployments(namespace).Create(t.Context(), deployment("all-over"), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	// A leftover in a cell that the map does not name is never shown.
	snap := b.snapshot(t)
	for cell, config := range b.cells {
		p, _ := snap.Table.LookupKey(ns + "/leftover")
		if cell == p.Old() {
			continue
		}
		if _, err := kube(t, config).AppsV1().Deployments(ns).Create(t.Context(), deployment("leftover"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := kube(t, b.router).AppsV1().Deployments("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range list.Items {
		if list.Items[i].Name == "all-over" || list.Items[i].Name == "leftover" {
			got = append(got, list.Items[i].Namespace+"/"+list.Items[i].Name)
		}
	}
	if want := []string{"everywhere/all-over", "kube-system/all-over"}; !slices.Equal(got, want) {
		t.Errorf("list has %v; want %v", got, want)
	}
}

func deployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			},
		},
	}
}

func TestScaleAndStatusGoToTheOwner(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "subresources")
	deployments := kube(t, b.router).AppsV1().Deployments(ns)
	if _, err := deployments.Create(t.Context(), deployment("web"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	scale, err := deployments.GetScale(t.Context(), "web", getOptions())
	if err != nil {
		t.Fatal(err)
	}
	scale.Spec.Replicas = 7
	if _, err := deployments.UpdateScale(t.Context(), "web", scale, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := deployments.Get(t.Context(), "web", getOptions())
	if err != nil || *got.Spec.Replicas != 7 {
		t.Fatalf("replicas = %v, %v; want 7", got.Spec.Replicas, err)
	}
	got.Status.ObservedGeneration = 3
	if _, err := deployments.UpdateStatus(t.Context(), got, metav1.UpdateOptions{}); err != nil {
		t.Error(err)
	}
}

// TestAWatchOfOneNameIsServedByItsCell while all others hang.
func TestAWatchOfOneNameIsServedByItsCell(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "watchone")
	names := b.oneOfEach(t, ns)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	for _, cell := range []string{"cell-2", "cell-3"} {
		b.gate(t, cell, maps, names[cell]).Hang()
	}
	one := names["cell-1"]
	there, err := maps.Get(t.Context(), one, getOptions())
	if err != nil {
		t.Fatal(err)
	}
	w, err := maps.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + one, ResourceVersion: there.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := maps.Delete(t.Context(), one, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if event := <-w.ResultChan(); event.Type != "DELETED" {
		t.Errorf("event = %v; want DELETED", event)
	}
}

func TestLocalObjectsAreFoundInAnyCell(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "local")
	event := func(name string) *corev1.Event {
		return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, InvolvedObject: corev1.ObjectReference{Namespace: ns, Kind: "Pod", Name: "p"}, Reason: "Test"}
	}
	for cell, config := range b.cells {
		if _, err := kube(t, config).CoreV1().Events(ns).Create(t.Context(), event("of-"+cell), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	events := kube(t, b.router).CoreV1().Events(ns)
	for cell := range b.cells {
		if _, err := events.Get(t.Context(), "of-"+cell, getOptions()); err != nil {
			t.Errorf("get of-%s: %v", cell, err)
		}
	}
	if _, err := events.Get(t.Context(), "nowhere", getOptions()); !apierrors.IsNotFound(err) {
		t.Errorf("get nowhere: %v; want not found", err)
	}
	list, err := events.List(t.Context(), metav1.ListOptions{FieldSelector: "reason=Test"})
	if err != nil || len(list.Items) != 3 {
		t.Errorf("list: %d, %v; want 3", len(list.Items), err)
	}
	if _, err := kube(t, b.cells["cell-2"]).CoreV1().Events(ns).Create(t.Context(), event("of-cell-1"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// A second cell that answers much later than the first is not waited for.
	until(t, "a name in two cells is a conflict", func(ctx context.Context) bool {
		_, err = events.Get(ctx, "of-cell-1", getOptions())
		return apierrors.IsConflict(err)
	})
	if !strings.Contains(err.Error(), "cell-1") || !strings.Contains(err.Error(), "cell-2") {
		t.Errorf("get of a name in two cells: %v; want a conflict that names them", err)
	}
	_, err = kube(t, b.nobody()).CoreV1().Events(ns).Get(t.Context(), "of-cell-1", getOptions())
	if !apierrors.IsForbidden(err) || strings.Contains(err.Error(), "cell-2") {
		t.Errorf("get of a name in two cells without the right to: %v; want forbidden", err)
	}
	until(t, "it is not written either", func(ctx context.Context) bool {
		_, err := events.Patch(ctx, "of-cell-1", types.MergePatchType, []byte(`{"reason":"Written"}`), metav1.PatchOptions{})
		return apierrors.IsConflict(err)
	})
}
