package fence_test

import (
	"context"
	"os"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// planes is the cell of all tests. Each begins with the fence in force, and does not run in parallel with
// others.
var planes = sandboxtest.NewPool(1)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }

var (
	configMaps  = corev1.SchemeGroupVersion.WithResource("configmaps")
	deployments = appsv1.SchemeGroupVersion.WithResource("deployments")
	crds        = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	machines    = schema.GroupVersionResource{Group: "fence.example.com", Version: "v1", Resource: "machines"}
)

// patience is how long a condition may take to come.
const patience = time.Minute

// cell is a cell with its fence, seen by its administrator and by the mover.
type cell struct {
	config *rest.Config
	admin  dynamic.Interface
	mover  dynamic.Interface
	kube   kubernetes.Interface
}

// fenced returns a cell whose fence is in force.
func fenced(t *testing.T) *cell {
	t.Helper()
	c := bare(t)
	if _, err := fence.Install(t.Context(), c.config); err != nil {
		t.Fatal(err)
	}
	if err := fence.Await(t.Context(), c.config); err != nil {
		t.Fatal(err)
	}
	return c
}

// bare returns the cell as the test before left it.
func bare(t *testing.T) *cell {
	t.Helper()
	config := planes.Configs(t)[0]
	config.QPS = -1
	c := &cell{config: config, admin: dyn(t, config), mover: dyn(t, fence.AsMover(config))}
	var err error
	if c.kube, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	c.namespace(t, v1alpha1.Namespace)
	return c
}

func dyn(t *testing.T, config *rest.Config) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (c *cell) as(t *testing.T, user string, groups ...string) dynamic.Interface {
	t.Helper()
	config := rest.CopyConfig(c.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return dyn(t, config)
}

func (c *cell) namespace(t *testing.T, name string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.kube.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// machine makes the cell serve a custom resource with the subresources status and scale.
func (c *cell) machine(t *testing.T) {
	t.Helper()
	whole := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "machines.fence.example.com"},
		"spec": map[string]any{
			"group": "fence.example.com", "scope": "Namespaced",
			"names": map[string]any{"plural": "machines", "singular": "machine", "kind": "Machine", "listKind": "MachineList"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{
					"spec":   map[string]any{"type": "object", "properties": map[string]any{"replicas": map[string]any{"type": "integer"}}},
					"status": whole,
				}}},
				"subresources": map[string]any{
					"status": map[string]any{},
					"scale":  map[string]any{"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
				},
			}},
		},
	}}
	if _, err := c.admin.Resource(crds).Create(t.Context(), crd, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	eventually(t, "the custom resource is served", func(ctx context.Context) error {
		_, err := c.admin.Resource(machines).List(ctx, metav1.ListOptions{})
		return err
	})
}

// object is one of a kind, in a state of migration; the empty state is none.
func object(resource schema.GroupVersionResource, name string, state v1alpha1.RebalanceStatus) *unstructured.Unstructured {
	labels := map[string]any{"test": name}
	if state != "" {
		labels[v1alpha1.LabelRebalanceStatus] = string(state)
	}
	out := map[string]any{"metadata": map[string]any{"name": name, "labels": labels}}
	switch resource {
	case configMaps:
		out["apiVersion"], out["kind"], out["data"] = "v1", "ConfigMap", map[string]any{"k": "v"}
	case machines:
		out["apiVersion"], out["kind"], out["spec"] = "fence.example.com/v1", "Machine", map[string]any{"replicas": int64(1)}
	case deployments:
		out["apiVersion"], out["kind"] = "apps/v1", "Deployment"
		out["spec"] = map[string]any{
			"replicas": int64(1), "selector": map[string]any{"matchLabels": map[string]any{"app": "x"}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"app": "x"}},
				"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": "none"}}},
			},
		}
	}
	return &unstructured.Unstructured{Object: out}
}

// eventually waits until what is asked answers without error.
func eventually(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = ask(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v", what, last)
	}
}
