package federation

import (
	"context"
	"errors"
	"fmt"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubecell/kubectl-cell/config"
	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Times of the wait for a new CRD. Establishing one takes an apiserver some 100 ms; it is served a
// moment later.
const (
	servedEvery  = 50 * time.Millisecond
	servedWithin = 30 * time.Second
)

// Outcome is what became of one installed object.
type Outcome string

const (
	// Created: the object was not there.
	Created Outcome = "created"
	// Configured: the object was there and differed.
	Configured Outcome = "configured"
	// Unchanged: the object was there as it should be.
	Unchanged Outcome = "unchanged"
)

// Installed is one object that [Init] takes care of.
type Installed struct {
	// Object is "<kind>/<name>" in lower case, as kubectl prints it.
	Object  string  `json:"object"`
	Outcome Outcome `json:"outcome"`
}

// installCRDs applies the CRDs and waits until the apiserver serves their kinds.
func (c *connection) installCRDs(ctx context.Context, dryRun bool) ([]Installed, error) {
	crds, err := config.CRDs()
	if err != nil {
		return nil, err
	}
	var out []Installed
	for _, crd := range crds {
		done, err := c.apply(ctx, crdResource(), crd, dryRun)
		if err != nil {
			return out, err
		}
		out = append(out, done)
	}
	if dryRun {
		return out, nil
	}
	for _, crd := range crds {
		if err := c.awaitServed(ctx, crd); err != nil {
			return out, err
		}
	}
	return out, nil
}

func crdResource() schema.GroupVersionResource {
	return apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")
}

// awaitServed waits until a list of the kind is answered: Established alone comes a moment too
// early, and a client that relies on it sees 404.
func (c *connection) awaitServed(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) error {
	resource := schema.GroupVersionResource{
		Group: crd.Spec.Group, Version: crd.Spec.Versions[0].Name, Resource: crd.Spec.Names.Plural,
	}
	var last error
	err := wait.PollUntilContextTimeout(ctx, servedEvery, servedWithin, true, func(ctx context.Context) (bool, error) {
		_, last = c.dynamic.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
		if apierrors.IsForbidden(last) || apierrors.IsUnauthorized(last) {
			return false, last
		}
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait until %s is served: %w", crd.Name, errors.Join(err, last))
	}
	return nil
}

// manifest is an object with a kind, as it is written to the server.
type manifest interface {
	runtime.Object
	metav1.Object
}

// apply writes obj by server-side apply: fields that others added stay, ours become what obj says.
func (c *connection) apply(ctx context.Context, resource schema.GroupVersionResource, obj manifest, dryRun bool) (Installed, error) {
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return Installed{}, fmt.Errorf("encode %s: %w", obj.GetName(), err)
	}
	u := &unstructured.Unstructured{Object: raw}
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	name := objectName(u)

	objects := c.dynamic.Resource(resource).Namespace(obj.GetNamespace())
	before, err := objects.Get(ctx, obj.GetName(), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return Installed{}, passOn("read "+name, err)
	}
	missing := err != nil
	options := metav1.ApplyOptions{FieldManager: v1alpha1.FieldManager, Force: true}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
		if missing && obj.GetNamespace() != "" {
			// The namespace may be missing as well, and a dry run cannot make it.
			return Installed{Object: name, Outcome: Created}, nil
		}
	}
	after, err := objects.Apply(ctx, obj.GetName(), u, options)
	if err != nil {
		return Installed{}, passOn("install "+name, err)
	}
	switch {
	case missing:
		return Installed{Object: name, Outcome: Created}, nil
	case before.GetResourceVersion() == after.GetResourceVersion():
		return Installed{Object: name, Outcome: Unchanged}, nil
	}
	return Installed{Object: name, Outcome: Configured}, nil
}
