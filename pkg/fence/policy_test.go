package fence_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// write is one way to write an object that is there. dryRun is nil for a real write.
type write struct {
	name string
	do   func(ctx context.Context, objects dynamic.ResourceInterface, live *unstructured.Unstructured, dryRun []string) error
	// status is true where it needs the subresource status.
	status bool
}

func patch(name string, kind types.PatchType, body string) write {
	return write{name: name, do: func(ctx context.Context, objects dynamic.ResourceInterface, live *unstructured.Unstructured, dryRun []string) error {
		_, err := objects.Patch(ctx, live.GetName(), kind, []byte(body), metav1.PatchOptions{DryRun: dryRun})
		return err
	}}
}

func update(name string, change func(*unstructured.Unstructured)) write {
	return write{name: name, do: func(ctx context.Context, objects dynamic.ResourceInterface, live *unstructured.Unstructured, dryRun []string) error {
		next := live.DeepCopy()
		change(next)
		_, err := objects.Update(ctx, next, metav1.UpdateOptions{DryRun: dryRun})
		return err
	}}
}

func withLabel(value string) func(*unstructured.Unstructured) {
	return func(u *unstructured.Unstructured) {
		labels := u.GetLabels()
		delete(labels, v1alpha1.LabelRebalanceStatus)
		if value != "" {
			labels[v1alpha1.LabelRebalanceStatus] = value
		}
		u.SetLabels(labels)
	}
}

// writes are those that the fence refuses for an object in migration.
func writes() []write {
	return []write{
		update("update", func(u *unstructured.Unstructured) { u.SetAnnotations(map[string]string{"a": "b"}) }),
		update("update that changes the label", withLabel("other")),
		update("update that takes the label off", withLabel("")),
		patch("merge patch", types.MergePatchType, `{"metadata":{"annotations":{"a":"b"}}}`),
		patch("merge patch that takes the label off", types.MergePatchType, `{"metadata":{"labels":null}}`),
		patch("JSON patch", types.JSONPatchType, `[{"op":"add","path":"/metadata/annotations","value":{"a":"b"}}]`),
		{name: "apply", do: func(ctx context.Context, objects dynamic.ResourceInterface, live *unstructured.Unstructured, dryRun []string) error {
			next := &unstructured.Unstructured{}
			next.SetGroupVersionKind(live.GroupVersionKind())
			next.SetName(live.GetName())
			next.SetAnnotations(map[string]string{"a": "b"})
			_, err := objects.Apply(ctx, live.GetName(), next, metav1.ApplyOptions{FieldManager: "test", DryRun: dryRun})
			return err
		}},
		{name: "finalizer", do: patch("", types.MergePatchType, `{"metadata":{"finalizers":["example.com/x"]}}`).do},
		{name: "update of the status", status: true, do: func(ctx context.Context, objects dynamic.ResourceInterface, live *unstructured.Unstructured, dryRun []string) error {
			next := live.DeepCopy()
			if err := unstructured.SetNestedField(next.Object, int64(7), "status", "observedGeneration"); err != nil {
				return err
			}
			_, err := objects.UpdateStatus(ctx, next, metav1.UpdateOptions{DryRun: dryRun})
			return err
		}},
		{name: "patch of the status", status: true, do: func(ctx context.Context, objects dynamic.ResourceInterface, live *unstructured.Unstructured, dryRun []string) error {
			_, err := objects.Patch(ctx, live.GetName(), types.MergePatchType, []byte(`{"status":{"observedGeneration":7}}`), metav1.PatchOptions{DryRun: dryRun}, "status")
			return err
		}},
		{name: "deletecollection", do: func(ctx context.Context, objects dynamic.ResourceInterface, live *unstructured.Unstructured, dryRun []string) error {
			return objects.DeleteCollection(ctx, metav1.DeleteOptions{DryRun: dryRun}, metav1.ListOptions{LabelSelector: "test=" + live.GetName()})
		}},
		{name: "delete", do: func(ctx context.Context, objects dynamic.ResourceInterface, live *unstructured.Unstructured, dryRun []string) error {
			return objects.Delete(ctx, live.GetName(), metav1.DeleteOptions{DryRun: dryRun})
		}},
		{name: "orphaning delete", do: func(ctx context.Context, objects dynamic.ResourceInterface, live *unstructured.Unstructured, dryRun []string) error {
			orphan := metav1.DeletePropagationOrphan
			return objects.Delete(ctx, live.GetName(), metav1.DeleteOptions{DryRun: dryRun, PropagationPolicy: &orphan})
		}},
	}
}

func kinds() map[string]schema.GroupVersionResource {
	return map[string]schema.GroupVersionResource{"configmap": configMaps, "deployment": deployments, "machine": machines}
}

// TestObjectsInMigrationAreWrittenByTheMoverAlone goes through kinds, states, writes and identities. Refused
// writes are real ones, and must leave the object as it was; the mover's are dry runs.
func TestObjectsInMigrationAreWrittenByTheMoverAlone(t *testing.T) {
	c := fenced(t)
	c.machine(t)
	const ns = "migration"
	c.namespace(t, ns)
	others := map[string]dynamic.Interface{
		"administrator": c.admin,
		"controller":    c.as(t, "system:serviceaccount:kube-system:deployment-controller", "system:masters"),
		"garbage":       c.as(t, "system:serviceaccount:kube-system:generic-garbage-collector", "system:masters"),
		"all in one":    c.as(t, "system:kube-controller-manager", "system:masters"),
		// The name alone makes no mover.
		"by name": c.as(t, v1alpha1.UserMover, "system:masters"),
	}
	for kind, resource := range kinds() {
		for _, state := range []v1alpha1.RebalanceStatus{v1alpha1.Migrating, v1alpha1.Migrated, v1alpha1.Incoming} {
			t.Run(fmt.Sprintf("%s %s", kind, state), func(t *testing.T) {
				objects := c.mover.Resource(resource).Namespace(ns)
				live, err := objects.Create(t.Context(), object(resource, kind+"-"+string(state), state), metav1.CreateOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range writes() {
					if w.status && resource == configMaps {
						continue
					}
					for who, client := range others {
						err := w.do(t.Context(), client.Resource(resource).Namespace(ns), live, nil)
						wantRefusal(t, w.name+" by "+who, err, resource.Resource+" "+ns+"/"+live.GetName(), "("+string(state)+")")
					}
					if err := w.do(t.Context(), objects, live, []string{metav1.DryRunAll}); err != nil {
						t.Errorf("%s by the mover: %v", w.name, err)
					}
				}
				got, err := objects.Get(t.Context(), live.GetName(), metav1.GetOptions{})
				if err != nil {
					t.Fatalf("afterwards: %v", err)
				}
				if got.GetResourceVersion() != live.GetResourceVersion() || got.GetUID() != live.GetUID() {
					t.Errorf("afterwards: version %s; want %s", got.GetResourceVersion(), live.GetResourceVersion())
				}
				if err := objects.Delete(t.Context(), live.GetName(), metav1.DeleteOptions{}); err != nil {
					t.Errorf("delete by the mover: %v", err)
				}
			})
		}
	}
}

// wantRefusal fails the test unless err is the fence's, with these words in it.
func wantRefusal(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if !fence.IsRefusal(err) || !apierrors.IsForbidden(err) {
		t.Errorf("%s: %v; want the fence's refusal", what, err)
		return
	}
	for _, word := range append(words, fence.MessagePrefix) {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v\n  lacks %q", what, err, word)
		}
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !fence.IsRefusalStatus(status.Status()) {
		t.Errorf("%s: its status is not recognised", what)
	}
}

// TestTheLabelCannotBeForged sets it on objects that do not have it, in every way.
func TestTheLabelCannotBeForged(t *testing.T) {
	c := fenced(t)
	c.machine(t)
	const ns = "forged"
	c.namespace(t, ns)
	const words = "the label kubecell.io/rebalance-status is for the federation alone to set"
	for kind, resource := range kinds() {
		t.Run(kind, func(t *testing.T) {
			objects := c.admin.Resource(resource).Namespace(ns)
			plain, err := objects.Create(t.Context(), object(resource, "plain", ""), metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = objects.Create(t.Context(), object(resource, "made", v1alpha1.Migrated), metav1.CreateOptions{})
			wantRefusal(t, "create", err, words, ns+"/made")
			generated := object(resource, "", v1alpha1.Migrated)
			generated.SetGenerateName("made-")
			_, err = objects.Create(t.Context(), generated, metav1.CreateOptions{})
			wantRefusal(t, "create with generateName", err, words)
			_, err = objects.Apply(t.Context(), "made", object(resource, "made", v1alpha1.Incoming), metav1.ApplyOptions{FieldManager: "test"})
			wantRefusal(t, "apply that creates", err, words)
			for _, w := range []write{
				update("update", withLabel("migrating")),
				patch("merge patch", types.MergePatchType, `{"metadata":{"labels":{"kubecell.io/rebalance-status":"migrating"}}}`),
				patch("an empty value", types.MergePatchType, `{"metadata":{"labels":{"kubecell.io/rebalance-status":""}}}`),
				patch("JSON patch", types.JSONPatchType, `[{"op":"add","path":"/metadata/labels/kubecell.io~1rebalance-status","value":"x"}]`),
			} {
				wantRefusal(t, w.name, w.do(t.Context(), objects, plain, nil), words, ns+"/plain")
			}
		})
	}
	ns2 := object(configMaps, "made", v1alpha1.Migrated)
	ns2.SetAPIVersion("v1")
	ns2.SetKind("Namespace")
	delete(ns2.Object, "data")
	_, err := c.admin.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(t.Context(), ns2, metav1.CreateOptions{})
	wantRefusal(t, "a namespace", err, words)
}

// TestOtherObjectsAreUnaffected does for real what is refused in migration.
func TestOtherObjectsAreUnaffected(t *testing.T) {
	c := fenced(t)
	c.machine(t)
	const ns = "unaffected"
	c.namespace(t, ns)
	for kind, resource := range kinds() {
		t.Run(kind, func(t *testing.T) {
			objects := c.admin.Resource(resource).Namespace(ns)
			for _, w := range writes() {
				if w.status && resource == configMaps || strings.Contains(w.name, "label") || w.name == "finalizer" {
					continue
				}
				// Controllers write as well: the object is read anew until it stood still.
				eventually(t, w.name, func(ctx context.Context) error {
					live, err := objects.Get(ctx, kind, metav1.GetOptions{})
					if apierrors.IsNotFound(err) {
						live, err = objects.Create(ctx, object(resource, kind, ""), metav1.CreateOptions{})
					}
					if err != nil {
						return err
					}
					err = w.do(ctx, objects, live, nil)
					if err != nil && !apierrors.IsConflict(err) {
						t.Errorf("%s: %v", w.name, err)
						return nil
					}
					return err
				})
			}
		})
	}
}

// TestScaleIsNotSeen: a Scale has no labels of what it scales. The barrier of a rebalance covers it.
func TestScaleIsNotSeen(t *testing.T) {
	c := fenced(t)
	c.machine(t)
	const ns = "scaled"
	c.namespace(t, ns)
	for _, resource := range []schema.GroupVersionResource{deployments, machines} {
		live, err := c.mover.Resource(resource).Namespace(ns).Create(t.Context(), object(resource, "x", v1alpha1.Migrating), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.admin.Resource(resource).Namespace(ns).Patch(t.Context(), live.GetName(), types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{}, "scale")
		if err != nil {
			t.Errorf("%s: %v; want it let through, or the documents are wrong", resource.Resource, err)
		}
	}
}
