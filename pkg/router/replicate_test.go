package router_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
)

const (
	pollInterval = 20 * time.Millisecond
	pollTimeout  = 30 * time.Second
)

func TestANamespaceIsUsableInTheNextRequest(t *testing.T) {
	b := newBed(t)
	b.repair(t)
	ns := b.namespace(t, "replicated")
	for cell, config := range b.cells {
		got, err := kube(t, config).CoreV1().Namespaces().Get(t.Context(), ns, getOptions())
		if err != nil {
			t.Errorf("%s: %v", cell, err)
		} else if got.Annotations["kubecell.io/replicated-from"] == "" {
			t.Errorf("%s: the copy does not say what it is a copy of", cell)
		}
	}
	b.fill(t, ns, 9) // into every cell, at once

	namespaces := kube(t, b.router).CoreV1().Namespaces()
	if _, err := namespaces.Patch(t.Context(), ns, types.MergePatchType, []byte(`{"metadata":{"labels":{"team":"a"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	b.wantLabel(t, ns, "team", "a")
	if _, err := namespaces.Patch(t.Context(), ns, types.MergePatchType, []byte(`{"metadata":{"labels":{"team":null}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	b.wantLabel(t, ns, "team", "")

	if err := namespaces.Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for cell, config := range b.all() {
		err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
			_, err := kube(t, config).CoreV1().Namespaces().Get(ctx, ns, getOptions())
			return apierrors.IsNotFound(err), nil
		})
		if err != nil {
			t.Errorf("%s still has the namespace: %v", cell, err)
		}
	}
}

// repair runs a backup daemon until the test ends: it lets deleted namespaces go.
func (b *bed) repair(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- backup.Run(ctx, backup.Config{
			RCP: b.rcp, Identity: t.Name(), Listen: "127.0.0.1:0", Ready: func(string) {},
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now,
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("backup daemon: %v", err)
		}
	})
}

// TestAWriteThatIsNotAnsweredTakesNothing: nobody who has no right to it loses a cell what is its own, or is of a source that the
// RCP has lost, by a write that ends before it is refused.
func TestAWriteThatIsNotAnsweredTakesNothing(t *testing.T) {
	b := newBed(t)
	nobody := b.nobody()
	cell := kube(t, b.cells["cell-2"])
	for _, name := range []string{"unanswered-own", "unanswered-lost"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if name == "unanswered-lost" {
			ns.Annotations = map[string]string{v1alpha1.AnnotationReplicatedFrom: "2b4f0e3c-0000-4000-8000-000000000000"}
		}
		if _, err := cell.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		role := &rbacv1.ClusterRole{ObjectMeta: *ns.ObjectMeta.DeepCopy()}
		if _, err := cell.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/api/v1/namespaces/", "/apis/rbac.authorization.k8s.io/v1/clusterroles/"} {
			until(t, "the RCP has no time to refuse "+path+name, func(ctx context.Context) bool {
				err := kube(t, nobody).CoreV1().RESTClient().Delete().AbsPath(path+name).Param("timeout", "1ns").Do(ctx).Error()
				if err == nil {
					t.Errorf("%s%s: nobody may delete it", path, name)
				}
				return !apierrors.IsForbidden(err)
			})
		}
		if got, err := cell.CoreV1().Namespaces().Get(t.Context(), name, getOptions()); err != nil || got.DeletionTimestamp != nil {
			t.Errorf("namespace %s: %v, %v; want it left alone", name, got, err)
		}
		if _, err := cell.RbacV1().ClusterRoles().Get(t.Context(), name, getOptions()); err != nil {
			t.Errorf("cluster role %s: %v; want it left alone", name, err)
		}
		if err := cell.RbacV1().ClusterRoles().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		if err := cell.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// TestANamespaceIsCreatedWithItsFinalizer, in either encoding: whoever made it may update it at once, by
// the version that the create has answered.
func TestANamespaceIsCreatedWithItsFinalizer(t *testing.T) {
	b := newBed(t)
	for _, encoding := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
		t.Run(encoding, func(t *testing.T) {
			config := rest.CopyConfig(b.router)
			config.ContentType = encoding
			namespaces := kube(t, config).CoreV1().Namespaces()
			ns, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "finalizer-"}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(ns.Finalizers, v1alpha1.FinalizerCells) {
				t.Errorf("finalizers are %v", ns.Finalizers)
			}
			source, err := kube(t, b.rcp).CoreV1().Namespaces().Get(t.Context(), ns.Name, getOptions())
			if err != nil {
				t.Fatal(err)
			}
			if source.ManagedFields == nil || len(source.Finalizers) != 1 {
				t.Errorf("finalizers in the RCP are %v", source.Finalizers)
			}
			ns.Labels["team"] = "a"
			if _, err := namespaces.Update(t.Context(), ns, metav1.UpdateOptions{}); err != nil {
				t.Errorf("update with the version of the create: %v", err)
			}
		})
	}
}

// TestADefinitionIsServedEverywhere makes definitions and uses each in the next request, through the
// router and in every cell.
func TestADefinitionIsServedEverywhere(t *testing.T) {
	b := newBed(t)
	b.repair(t)
	ns := b.namespace(t, "served")
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	for _, test := range []struct {
		name, group, plural string
		in                  int // control planes that hold an object made through the router
	}{
		{"Global, which is the default", "example.com", "gadgets", 1},
		{"Sharded", "types.kubeadmiral.io", "federatedgadgets", 1},
		{"Replicated", "core.kubeadmiral.io", "overridepolicies", 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			crd := definition(test.group, test.plural, "")
			if _, err := dyn(t, b.router).Resource(crds).Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			resource := schema.GroupVersionResource{Group: test.group, Version: "v1alpha1", Resource: test.plural}
			kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
			object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": resource.GroupVersion().String(), "kind": kind}}
			for cell, config := range b.cells {
				object.SetName("direct")
				if _, err := dyn(t, config).Resource(resource).Namespace(ns).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
					t.Errorf("directly in %s: %v", cell, err)
				}
			}
			b.awaitEstablished(t, crd.GetName())
			object.SetName("through")
			if _, err := dyn(t, b.router).Resource(resource).Namespace(ns).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
				t.Fatalf("through the router: %v", err)
			}
			found := 0
			for _, config := range b.all() {
				if _, err := dyn(t, config).Resource(resource).Namespace(ns).Get(t.Context(), "through", getOptions()); err == nil {
					found++
				}
			}
			if found != test.in {
				t.Errorf("the object is in %d control planes; want %d", found, test.in)
			}
			b.wantDefinitionGone(t, crds, crd.GetName())
		})
	}
}

// awaitEstablished waits until the router says that a definition is established and a list is answered:
// of the RCP alone that may take a moment longer than the create.
func (b *bed) awaitEstablished(t *testing.T, name string) {
	t.Helper()
	crds, err := apiextensions.NewForConfig(b.router)
	if err != nil {
		t.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
		crd, err := crds.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, name, getOptions())
		if err != nil || !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
			return false, err
		}
		resource := schema.GroupVersionResource{Group: crd.Spec.Group, Version: crd.Spec.Versions[0].Name, Resource: crd.Spec.Names.Plural}
		_, err = dyn(t, b.rcp).Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("%s is not established: %v", name, err)
	}
}

// wantDefinitionGone deletes a definition and finds it gone from every cell as soon as it is gone from
// the RCP.
func (b *bed) wantDefinitionGone(t *testing.T, crds schema.GroupVersionResource, name string) {
	t.Helper()
	if err := dyn(t, b.router).Resource(crds).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := dyn(t, b.router).Resource(crds).Get(ctx, name, getOptions())
		return apierrors.IsNotFound(err), nil
	})
	if err != nil {
		t.Fatalf("%s is still there: %v", name, err)
	}
	for cell, config := range b.cells {
		if _, err := dyn(t, config).Resource(crds).Get(t.Context(), name, getOptions()); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v; want not found", cell, err)
		}
	}
}

func (b *bed) wantLabel(t *testing.T, ns, label, want string) {
	t.Helper()
	for cell, config := range b.cells {
		got, err := kube(t, config).CoreV1().Namespaces().Get(t.Context(), ns, getOptions())
		if err != nil || got.Labels[label] != want {
			t.Errorf("%s: label %s = %q, %v; want %q", cell, label, got.Labels[label], err, want)
		}
	}
}

func TestADryRunIsNotReplicated(t *testing.T) {
	b := newBed(t)
	_, err := kube(t, b.router).CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "dry"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		t.Fatal(err)
	}
	for cell, config := range b.all() {
		if _, err := kube(t, config).CoreV1().Namespaces().Get(t.Context(), "dry", getOptions()); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v; want not found", cell, err)
		}
	}
}

// TestAListNeedsEveryCell takes a definition away from one cell: its 404 is not the answer of the list.
func TestAListNeedsEveryCell(t *testing.T) {
	b := newBed(t)
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	// Large enough for an apiserver to compress its answer to the create.
	crd := definition("types.kubeadmiral.io", "federatedthings", strings.Repeat("a long description ", 12000))
	if _, err := dyn(t, b.router).Resource(crds).Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	things := schema.GroupVersionResource{Group: "types.kubeadmiral.io", Version: "v1alpha1", Resource: "federatedthings"}
	list := func(ctx context.Context) error {
		_, err := dyn(t, impatient(b.router)).Resource(things).Namespace("default").List(ctx, metav1.ListOptions{})
		return err
	}
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) { return list(ctx) == nil, nil })
	if err != nil {
		t.Fatalf("not served by all: %v, %v", err, list(t.Context()))
	}
	if err := dyn(t, b.cells["cell-3"]).Resource(crds).Delete(t.Context(), "federatedthings.types.kubeadmiral.io", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) { return list(ctx) != nil, nil })
	if got := list(t.Context()); err != nil || !apierrors.IsServiceUnavailable(got) || !strings.Contains(got.Error(), "cell-3") {
		t.Errorf("list: %v; want 503 that names cell-3", got)
	}
}

// definition is a CustomResourceDefinition of a namespaced kind with any content.
func definition(group, plural, description string) *unstructured.Unstructured {
	kind := strings.ToUpper(plural[:1]) + plural[1:len(plural)-1]
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": plural + "." + group},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced",
			"names": map[string]any{"plural": plural, "singular": strings.ToLower(kind), "kind": kind},
			"versions": []any{map[string]any{"name": "v1alpha1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": true}}}},
		},
	}}
}

func TestACustomResourceIsServedAndReplicated(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "custom")
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	crd := definition("core.kubeadmiral.io", "propagationpolicies", "")
	crd.Object["spec"].(map[string]any)["names"] = map[string]any{"plural": "propagationpolicies", "singular": "propagationpolicy", "kind": "PropagationPolicy"}
	if _, err := dyn(t, b.router).Resource(crds).Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	policies := schema.GroupVersionResource{Group: "core.kubeadmiral.io", Version: "v1alpha1", Resource: "propagationpolicies"}
	for cell, config := range b.all() {
		err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
			_, err := dyn(t, config).Resource(policies).Namespace(ns).List(ctx, metav1.ListOptions{})
			return err == nil, nil
		})
		if err != nil {
			t.Fatalf("%s does not serve the resource: %v", cell, err)
		}
	}
	policy := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "core.kubeadmiral.io/v1alpha1", "kind": "PropagationPolicy",
		"metadata": map[string]any{"name": "p"}, "spec": map[string]any{"x": "y"},
	}}
	if _, err := dyn(t, b.router).Resource(policies).Namespace(ns).Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for cell, config := range b.all() {
		got, err := dyn(t, config).Resource(policies).Namespace(ns).Get(t.Context(), "p", getOptions())
		if err != nil {
			t.Errorf("%s has no copy: %v", cell, err)
		} else if x, _, _ := unstructured.NestedString(got.Object, "spec", "x"); x != "y" {
			t.Errorf("%s: spec.x = %q; want y", cell, x)
		}
	}
}

// TestIdentity gives a user rights through the router and lets every cell judge by them.
func TestIdentity(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "identity")
	b.fill(t, ns, 9)
	admin := kube(t, b.router)
	if _, err := admin.CoreV1().ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}}}}
	if _, err := admin.RbacV1().Roles(ns).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "robot"}, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "reader"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "robot", Namespace: ns}}}
	if _, err := admin.RbacV1().RoleBindings(ns).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token := b.token(t, ns, "robot")
	robot := anonymous(b.router)
	robot.BearerToken = token

	// Every apiserver learns of a new binding through its own watch.
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
		list, err := kube(t, robot).CoreV1().ConfigMaps(ns).List(ctx, metav1.ListOptions{LabelSelector: "parity"})
		return err == nil && len(list.Items) == 9, nil
	})
	if err != nil {
		t.Errorf("the robot may list and cannot: %v", err)
	}
	if err := kube(t, robot).CoreV1().ConfigMaps(ns).Delete(t.Context(), "m-001", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the robot may not delete: %v; want forbidden", err)
	}
	if _, err := kube(t, anonymous(b.router)).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("without credentials: %v; want unauthorized", err)
	}
	garbage := anonymous(b.router)
	garbage.BearerToken = "garbage"
	if _, err := kube(t, garbage).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("with a garbage token: %v; want unauthorized", err)
	}
	pretender := rest.CopyConfig(robot)
	pretender.Impersonate = rest.ImpersonationConfig{UserName: "cell-admin", Groups: []string{"system:masters"}}
	if _, err := kube(t, pretender).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("impersonating without the right to: %v; want forbidden", err)
	}
	allowed := rest.CopyConfig(b.router)
	allowed.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + ns + ":robot"}
	if err := kube(t, allowed).CoreV1().ConfigMaps(ns).Delete(t.Context(), "m-001", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the administrator as the robot: %v; want forbidden, as the robot is", err)
	}
	b.wantHeadersIgnored(t, robot, ns)
}

// wantHeadersIgnored sends the headers by which a front proxy would name a user.
func (b *bed) wantHeadersIgnored(t *testing.T, robot *rest.Config, ns string) {
	t.Helper()
	forged := rest.CopyConfig(robot)
	forged.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			r.Header.Set("X-Remote-User", "cell-admin")
			r.Header.Set("X-Remote-Group", "system:masters")
			return rt.RoundTrip(r)
		})
	})
	if err := kube(t, forged).CoreV1().ConfigMaps(ns).Delete(t.Context(), "m-001", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("with forged front proxy headers: %v; want forbidden", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func anonymous(config *rest.Config) *rest.Config {
	return rest.AnonymousClientConfig(config)
}

func (b *bed) token(t *testing.T, ns, account string) string {
	t.Helper()
	answer, err := kube(t, b.router).CoreV1().ServiceAccounts(ns).CreateToken(t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}
