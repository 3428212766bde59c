package robustness

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
)

// secrets are what envelopes are.
var secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// copies are the envelopes of all cells, each as it was last. One that is gone was dropped, or promoted as it was.
type copies struct {
	mu   sync.Mutex // guards what follows
	last map[copyID]*unstructured.Unstructured
}

type copyID struct{ cell, secret, source string }

// follow watches the envelopes in a cell until ctx ends.
func (c *copies) follow(ctx context.Context, cell access) {
	for ctx.Err() == nil {
		if c.once(ctx, cell) != nil {
			sleep(ctx, retryAfter)
		}
	}
}

func (c *copies) once(ctx context.Context, cell access) error {
	r := cell.client.Resource(secrets).Namespace(v1alpha1.Namespace)
	options := metav1.ListOptions{LabelSelector: v1alpha1.LabelSourceCell}
	list, err := r.List(ctx, options)
	if err != nil {
		return err
	}
	for i := range list.Items {
		c.keep(cell.name, &list.Items[i])
	}
	options.ResourceVersion = list.GetResourceVersion()
	stream, err := r.Watch(ctx, options)
	if err != nil {
		return err
	}
	defer stream.Stop()
	for event := range stream.ResultChan() {
		if secret, ok := event.Object.(*unstructured.Unstructured); ok && event.Type != watch.Error {
			c.keep(cell.name, secret)
		}
	}
	return nil
}

func (c *copies) keep(cell string, secret *unstructured.Unstructured) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last[copyID{cell, secret.GetName(), secret.GetLabels()[v1alpha1.LabelSourceCell]}] = secret
}

// of are the copies of a cell's object, by the cell in which they were last.
func (c *copies) of(source, key string) map[string]*unstructured.Unstructured {
	kind := kindOf(key)
	name := envelope.Name(kind.Group, kind.Resource, namespace, nameOf(key))
	out := map[string]*unstructured.Unstructured{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, copied := range c.last {
		if id.secret == name && id.source == source {
			out[id.cell] = copied
		}
	}
	return out
}
