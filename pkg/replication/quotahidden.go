package replication

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/quota"
)

// selfMade is what the cell makes for itself and another cell shows, by limit on a number of objects: it counts for
// the cell and for nobody else. That it may not be there yet makes no difference: the cell makes it at any moment.
func (s *settling) selfMade(cell string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name := range s.divided {
		of, number := quota.Counted(name)
		if !number {
			continue
		}
		for _, made := range placement.SelfMade(of.Group, of.Resource, s.o.Namespace) {
			_, key := s.q.Snapshot.Classes.OfObject(of.Group, of.Resource, s.o.Namespace, made)
			if at, ok := s.q.Snapshot.Table.Lookup(key, s.o.Namespace, made); ok && at.Old() != cell {
				add(out, name, 1)
			}
		}
	}
	return out
}

func add(to corev1.ResourceList, name corev1.ResourceName, n int64) {
	amount := to[name]
	amount.Add(*resource.NewQuantity(n, resource.DecimalSI))
	to[name] = amount
}

// moving adds the tombstones and the copies that do not count yet, by limit on a number of objects.
func (s *settling) moving(ctx context.Context, l *look, to corev1.ResourceList) error {
	for name := range s.divided {
		of, number := quota.Counted(name)
		if !number {
			continue
		}
		n, err := s.countMoving(ctx, l.cell.Client, of)
		if err != nil {
			return err
		}
		if n > 0 {
			add(to, name, n)
		}
	}
	return nil
}

// countMoving counts them for one resource. There are none before the ring has changed.
func (s *settling) countMoving(ctx context.Context, client dynamic.Interface, of schema.GroupResource) (int64, error) {
	if s.q.Snapshot.Epoch <= 1 {
		return 0, nil
	}
	class, _ := s.q.Snapshot.Classes.Of(of.Group, of.Resource, s.o.Namespace)
	if class != placement.Sharded && class != placement.Dependent {
		return 0, nil
	}
	resource, err := versionOf(ctx, client, of)
	if err != nil {
		return 0, err
	}
	list, err := client.Resource(resource).Namespace(s.o.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: fmt.Sprintf("%s in (%s,%s)", v1alpha1.LabelRebalanceStatus, v1alpha1.Migrated, v1alpha1.Incoming),
	})
	if apierrors.IsNotFound(err) {
		return 0, nil // it is not served here
	}
	if err != nil {
		return 0, fmt.Errorf("count %s that move: %w", of.Resource, err)
	}
	return int64(len(list.Items)), nil
}

// versionOf finds a version in which a resource is served. All of Kubernetes' own whose number is limited have v1.
func versionOf(ctx context.Context, client dynamic.Interface, of schema.GroupResource) (schema.GroupVersionResource, error) {
	definition := Object{
		Resource: schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
		Name:     of.String(),
	}
	out := of.WithVersion("v1")
	if of.Group == "" || slices.Contains([]string{"apps", "batch"}, of.Group) {
		return out, nil
	}
	found, err := find(ctx, client, definition)
	if err != nil || found == nil {
		return out, err
	}
	versions, _, _ := unstructured.NestedSlice(found.Object, "spec", "versions")
	for _, version := range versions {
		if v, ok := version.(map[string]any); ok && v["served"] == true {
			out.Version, _ = v["name"].(string)
		}
	}
	return out, nil
}
