package fence_test

import (
	"context"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// frozen freezes the cell for this test.
func frozen(t *testing.T, c *cell) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := errors.Join(fence.Thaw(ctx, c.config), fence.AwaitThawed(ctx, c.config)); err != nil {
			t.Error(err)
		}
	})
	if changed, err := fence.Freeze(t.Context(), c.config); err != nil || !changed {
		t.Fatal(changed, err)
	}
	if err := fence.AwaitFrozen(t.Context(), c.config); err != nil {
		t.Fatal(err)
	}
}

// TestAFrozenCellTakesNoWrites of anybody but the mover, of whatever object.
func TestAFrozenCellTakesNoWrites(t *testing.T) {
	c := fenced(t)
	c.machine(t)
	const ns = "frozen"
	c.namespace(t, ns)
	live := map[string]*unstructured.Unstructured{}
	for kind, resource := range kinds() {
		made, err := c.admin.Resource(resource).Namespace(ns).Create(t.Context(), object(resource, kind, ""), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		live[kind] = made
	}
	frozen(t, c)
	others := map[string]dynamic.Interface{
		"administrator": c.admin,
		"garbage":       c.as(t, "system:serviceaccount:kube-system:generic-garbage-collector", "system:masters"),
		"all in one":    c.as(t, "system:kube-controller-manager", "system:masters"),
	}
	for who, client := range others {
		for kind, resource := range kinds() {
			t.Run(who+" "+kind, func(t *testing.T) { c.wantAllRefused(t, client.Resource(resource).Namespace(ns), resource, live[kind]) })
		}
		_, err := client.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Patch(t.Context(), ns, types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})
		wantFrozen(t, err)
		err = client.Resource(roles).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name=" + fence.FreezeName})
		wantFrozen(t, err)
	}
	for kind, resource := range kinds() {
		objects := c.mover.Resource(resource).Namespace(ns)
		if _, err := objects.Patch(t.Context(), kind, types.MergePatchType, []byte(`{"metadata":{"annotations":{"moved":"yes"}}}`), metav1.PatchOptions{}); err != nil {
			t.Errorf("the mover patches a %s: %v", kind, err)
		}
		if err := objects.Delete(t.Context(), kind, metav1.DeleteOptions{}); err != nil {
			t.Errorf("the mover deletes a %s: %v", kind, err)
		}
	}
}

func (c *cell) wantAllRefused(t *testing.T, objects dynamic.ResourceInterface, resource schema.GroupVersionResource, live *unstructured.Unstructured) {
	t.Helper()
	_, err := objects.Create(t.Context(), object(resource, "fresh", ""), metav1.CreateOptions{})
	wantFrozen(t, err)
	if resource != configMaps {
		_, err = objects.Patch(t.Context(), live.GetName(), types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{}, "scale")
		wantFrozen(t, err)
	}
	for _, w := range writes() {
		// What changes the label both policies refuse, and the apiserver names one of them.
		if w.status && resource == configMaps || strings.Contains(w.name, "the label") {
			continue
		}
		// Controllers have written until the cell was frozen.
		now, err := c.admin.Resource(resource).Namespace(live.GetNamespace()).Get(t.Context(), live.GetName(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantFrozen(t, w.do(t.Context(), objects, now, nil))
	}
}

func wantFrozen(t *testing.T, err error) {
	t.Helper()
	if !fence.IsFreezeRefusal(err) {
		t.Errorf("%v; want the refusal of a frozen cell", err)
	}
	if fence.IsRefusal(err) {
		t.Errorf("%v is taken for the fence's", err)
	}
}

// TestAFrozenCellStaysAlive: its components renew their leases, and may ask who somebody is and what he may.
func TestAFrozenCellStaysAlive(t *testing.T) {
	c := fenced(t)
	frozen(t, c)
	holder := "a-node"
	for _, namespace := range []string{"kube-system", "kube-node-lease"} {
		lease, err := c.kube.CoordinationV1().Leases(namespace).Create(t.Context(), &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: "freeze-test"}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatalf("create a lease in %s: %v", namespace, err)
		}
		now := metav1.NowMicro()
		lease.Spec.RenewTime = &now
		if _, err := c.kube.CoordinationV1().Leases(namespace).Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil {
			t.Errorf("renew a lease in %s: %v", namespace, err)
		}
		if err := c.kube.CoordinationV1().Leases(namespace).Delete(t.Context(), "freeze-test", metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete a lease in %s: %v", namespace, err)
		}
	}
	_, err := c.kube.CoordinationV1().Leases("default").Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "a-controllers-own"}}, metav1.CreateOptions{})
	wantFrozen(t, err)
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "secrets"},
	}}
	if _, err := c.kube.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{}); err != nil {
		t.Errorf("ask for rights: %v", err)
	}
	if _, err := c.kube.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "x"}}, metav1.CreateOptions{}); err != nil {
		t.Errorf("ask whose a token is: %v", err)
	}
	seconds := int64(600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	if _, err := c.kube.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "default", request, metav1.CreateOptions{}); err != nil {
		t.Errorf("ask for a token: %v", err)
	}
	self := rest.CopyConfig(c.config)
	self.Impersonate = rest.ImpersonationConfig{UserName: "system:apiserver", Groups: []string{"system:masters"}}
	apiserver, err := kubernetes.NewForConfig(self)
	if err != nil {
		t.Fatal(err)
	}
	service, err := apiserver.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apiserver.CoreV1().Services("default").Update(t.Context(), service, metav1.UpdateOptions{}); err != nil {
		t.Errorf("the apiserver writes its own service: %v", err)
	}
}

// TestThaw lets everybody write again, and leaves the fence and the mover's rights.
func TestThaw(t *testing.T) {
	c := fenced(t)
	waiting, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	if err := fence.AwaitFrozen(waiting, c.config); err == nil {
		t.Error("a cell in use is taken for a frozen one")
	}
	if report, err := fence.CheckFrozen(t.Context(), c.config); err != nil || report.State != fence.Missing {
		t.Fatalf("a cell in use: %s, %v", report, err)
	}
	frozen(t, c)
	if report, err := fence.CheckFrozen(t.Context(), c.config); err != nil || report.State != fence.Live {
		t.Errorf("a frozen cell: %s, %v", report, err)
	}
	if changed, err := fence.Freeze(t.Context(), c.config); err != nil || changed {
		t.Errorf("freeze again: changed %v, %v; want nothing to do", changed, err)
	}
	for _, resource := range []schema.GroupVersionResource{policies, bindings, roles} {
		if !fence.Owns(resource.GroupResource(), fence.FreezeName) || resource != roles && !fence.Owns(resource.GroupResource(), fence.EarlyName) {
			t.Errorf("the freeze's %s are taken for copies", resource.Resource)
		}
	}
	for range 2 {
		if err := fence.Thaw(t.Context(), c.config); err != nil {
			t.Fatal(err)
		}
	}
	if err := fence.AwaitThawed(t.Context(), c.config); err != nil {
		t.Fatal(err)
	}
	_, err := c.admin.Resource(configMaps).Namespace("default").Create(t.Context(), object(configMaps, "x", ""), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		t.Errorf("a write to a thawed cell: %v", err)
	}
	if report := c.check(t); report.State != fence.Live {
		t.Errorf("the fence after a thaw: %s", report)
	}
	if err := fence.Await(t.Context(), c.config); err != nil {
		t.Error(err)
	}
}

// TestAFreezeBeginsWithItsMark, which each apiserver knows at once: the policy that heeds it is there beforehand.
func TestAFreezeBeginsWithItsMark(t *testing.T) {
	c := fenced(t)
	var written []string
	watched := rest.CopyConfig(c.config)
	watched.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet {
				written = append(written, path.Base(path.Dir(r.URL.Path))+"/"+path.Base(r.URL.Path))
			}
			return next.RoundTrip(r)
		})
	})
	if _, err := fence.Freeze(t.Context(), watched); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"clusterroles/" + fence.FreezeName, "validatingadmissionpolicybindings/" + fence.FreezeName, "validatingadmissionpolicies/" + fence.FreezeName,
	}
	if !slices.Equal(written, want) {
		t.Errorf("a freeze writes %q; want %q", written, want)
	}
	if err := errors.Join(fence.Thaw(t.Context(), c.config), fence.AwaitThawed(t.Context(), c.config)); err != nil {
		t.Fatal(err)
	}

	if _, err := c.kube.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: fence.FreezeName}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := fence.AwaitFrozen(t.Context(), c.config); err != nil {
		t.Error(err)
	}
	_, err := c.admin.Resource(configMaps).Namespace("default").Create(t.Context(), object(configMaps, "x", ""), metav1.CreateOptions{})
	wantFrozen(t, err)
	if report, err := fence.CheckFrozen(t.Context(), c.config); err != nil || report.State != fence.Missing {
		t.Errorf("the mark alone: %s, %v; want the freeze itself to be missing", report, err)
	}
	if err := errors.Join(fence.Thaw(t.Context(), c.config), fence.AwaitThawed(t.Context(), c.config)); err != nil {
		t.Error(err)
	}
	if report := c.check(t); report.State != fence.Live {
		t.Errorf("the fence: %s", report)
	}
}

// TestAnAdministratorThaws a cell by hand, where nothing of the federation is left that would.
func TestAnAdministratorThaws(t *testing.T) {
	c := fenced(t)
	frozen(t, c)
	for _, resource := range []schema.GroupVersionResource{roles, bindings} {
		if err := c.admin.Resource(resource).Delete(t.Context(), fence.FreezeName, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := fence.AwaitThawed(t.Context(), c.config); err != nil {
		t.Error(err)
	}
}

// TestARemovedFenceLeavesNoMark: the cell would be frozen as soon as it had its fence again.
func TestARemovedFenceLeavesNoMark(t *testing.T) {
	c := fenced(t)
	frozen(t, c)
	if err := fence.Thaw(t.Context(), c.config); err != nil {
		t.Fatal(err)
	}
	if _, err := c.kube.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: fence.FreezeName}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the fence to be off", func(ctx context.Context) error { return fence.Remove(ctx, c.config) })
	if _, err := c.kube.RbacV1().ClusterRoles().Get(t.Context(), fence.FreezeName, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the mark: %v; want it gone", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
