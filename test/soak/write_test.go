package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

const (
	// keys is how many names of each resource a writer has in each namespace.
	keys = 5
	// halfLabel divides objects among selectors; an update may move one to the other half.
	halfLabel = "half"
	// pause is how long a writer waits after a refusal.
	pause = 50 * time.Millisecond
)

func halves() []string { return []string{"left", "right"} }

// writer makes, changes and deletes objects whose names are its own, so that it knows what there is.
type writer struct {
	client     dynamic.Interface
	random     *rand.Rand
	namespaces []string
	own        int
	written    *counts
	round      int
	// there are the versions of what is there; empty where that is not known.
	there map[target]string
}

// errIdle is returned for a write that was answered and changed nothing.
var errIdle = errors.New("the write changed nothing")

// target is one object of a writer.
type target struct {
	resource        schema.GroupVersionResource
	namespace, name string
}

func (w *writer) run(ctx context.Context) {
	w.there = map[target]string{}
	resources := load()
	for ctx.Err() == nil {
		w.round++
		at := target{
			resource:  resources[w.random.IntN(len(resources))],
			namespace: w.namespaces[w.random.IntN(len(w.namespaces))],
			name:      fmt.Sprintf("w%d-%d", w.own, w.random.IntN(keys)),
		}
		err := w.write(ctx, at)
		switch {
		case err == nil:
			w.written.done.Add(1)
		case errors.Is(err, errIdle):
			w.written.idle.Add(1)
		case ctx.Err() == nil && !apierrors.IsConflict(err):
			if refused(err) {
				w.written.refused.Add(1)
			} else {
				w.written.failed.Add(1)
			}
			// While the router is away, asking again at once would only heat the machine.
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// refused says whether a write was answered, and not with what the writer could not know: what became of one before it
// that was not answered.
func refused(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && !apierrors.IsNotFound(err) && !apierrors.IsAlreadyExists(err)
}

// load are the resources to write, each as often as it is to be written. One write of a replicated resource is one in
// each control plane, one of a local resource is looked for in all cells first, and controllers answer one of a service or
// a deployment with several of their own.
func load() []schema.GroupVersionResource {
	var out []schema.GroupVersionResource
	for _, resource := range followed() {
		times := 1
		switch resource.Resource {
		case "namespaces":
			times = 0 // these stay
		case "configmaps", "secrets":
			times = 8
		}
		for range times {
			out = append(out, resource)
		}
	}
	return out
}

// write makes the object where it is missing, and else changes or deletes it. A write that failed may have been done:
// what is there is asked for, then, by writing again.
func (w *writer) write(ctx context.Context, at target) error {
	client := w.client.Resource(at.resource).Namespace(at.namespace)
	before, there := w.there[at]
	if there && w.random.IntN(4) == 0 {
		now := int64(0)
		err := client.Delete(ctx, at.name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		if err == nil || apierrors.IsNotFound(err) {
			delete(w.there, at)
		}
		return err
	}
	after, err := w.put(ctx, client, at, there)
	switch {
	case apierrors.IsNotFound(err):
		delete(w.there, at)
	case apierrors.IsAlreadyExists(err):
		w.there[at] = ""
	case err == nil:
		w.there[at] = after.GetResourceVersion()
		if w.there[at] == before {
			return errIdle
		}
	}
	return err
}

// put makes the object, or changes what is there.
func (w *writer) put(ctx context.Context, client dynamic.ResourceInterface, at target, there bool) (*unstructured.Unstructured, error) {
	switch {
	case !there:
		o := newObject(at.resource, at.namespace, at.name)
		o.SetLabels(w.labels())
		return client.Create(ctx, o, metav1.CreateOptions{})
	case w.random.IntN(3) == 0:
		o, err := client.Get(ctx, at.name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		o.SetLabels(w.labels())
		return client.Update(ctx, o, metav1.UpdateOptions{})
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"round":%q}}}`, strconv.Itoa(w.round))
	return client.Patch(ctx, at.name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
}

func (w *writer) labels() map[string]string {
	return map[string]string{"round": strconv.Itoa(w.round), halfLabel: halves()[w.random.IntN(2)]}
}

func object(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
	out.SetNamespace(namespace)
	out.SetName(name)
	return out
}

// newObject is a valid one of the resource.
func newObject(resource schema.GroupVersionResource, namespace, name string) *unstructured.Unstructured {
	version := resource.GroupVersion().String()
	container := []any{map[string]any{"name": "c", "image": "registry.example/c:1"}}
	app := map[string]any{"app": name}
	switch resource.Resource {
	case "secrets":
		return object(version, "Secret", namespace, name)
	case "services":
		out := object(version, "Service", namespace, name)
		out.Object["spec"] = map[string]any{"clusterIP": "None", "ports": []any{map[string]any{"port": int64(80)}}}
		return out
	case "deployments":
		out := object(version, "Deployment", namespace, name)
		out.Object["spec"] = map[string]any{
			"replicas": int64(0), "selector": map[string]any{"matchLabels": app},
			"template": map[string]any{"metadata": map[string]any{"labels": app}, "spec": map[string]any{"containers": container}},
		}
		return out
	case "events":
		out := object(version, "Event", namespace, name)
		out.Object["involvedObject"] = map[string]any{"kind": "ConfigMap", "namespace": namespace, "name": name}
		return out
	case "pods":
		out := object(version, "Pod", namespace, name)
		out.Object["spec"] = map[string]any{"containers": container, "automountServiceAccountToken": false}
		return out
	case "roles":
		return object(version, "Role", namespace, name)
	}
	return object(version, "ConfigMap", namespace, name)
}
