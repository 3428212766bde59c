package soak

import (
	"context"
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
	// pause is how long a writer waits after a refusal.
	pause = 50 * time.Millisecond
)

// writer makes, changes and deletes objects whose names are its own.
type writer struct {
	client     dynamic.Interface
	random     *rand.Rand
	namespaces []string
	own        int
	written    *counts
	round      int
}

func (w *writer) run(ctx context.Context) {
	resources := followed()
	for ctx.Err() == nil {
		w.round++
		resource := resources[w.random.IntN(len(resources))]
		if resource.Resource == "namespaces" {
			continue // these stay
		}
		name := fmt.Sprintf("w%d-%d", w.own, w.random.IntN(keys))
		namespace := w.namespaces[w.random.IntN(len(w.namespaces))]
		client := w.client.Resource(resource).Namespace(namespace)
		err := w.write(ctx, client, resource, namespace, name)
		switch {
		case err == nil:
			w.written.done.Add(1)
		case ctx.Err() == nil && !apierrors.IsConflict(err):
			w.written.failed.Add(1)
			// While the router is away, asking again at once would only heat the machine.
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// write makes the object where it is missing, and else changes or deletes it.
func (w *writer) write(ctx context.Context, client dynamic.ResourceInterface, resource schema.GroupVersionResource, namespace, name string) error {
	switch w.random.IntN(4) {
	case 0:
		now := int64(0)
		return ignoreNotFound(client.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	case 1:
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"round":%q}}}`, strconv.Itoa(w.round))
		_, err := client.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return ignoreNotFound(err)
	case 2:
		o, err := client.Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			o.SetLabels(map[string]string{"round": strconv.Itoa(w.round)})
			_, err = client.Update(ctx, o, metav1.UpdateOptions{})
		}
		return ignoreNotFound(err)
	}
	_, err := client.Create(ctx, newObject(resource, namespace, name), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
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
