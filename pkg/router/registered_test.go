package router_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/membership"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// readerOfRCP is a user of the RCP that may read everything. grant lets it register as a router, and revoke takes that
// back, and waits until the RCP knows.
func (b *bed) readerOfRCP(t *testing.T, name string) (config *rest.Config, grant func() (revoke func())) {
	t.Helper()
	rbac := kube(t, b.rcp).RbacV1()
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: name, APIGroup: rbacv1.GroupName}}
	ref := func(role string) rbacv1.RoleRef {
		return rbacv1.RoleRef{Kind: "ClusterRole", Name: name + role, APIGroup: rbacv1.GroupName}
	}
	for role, rule := range map[string]rbacv1.PolicyRule{
		"-reads":     {APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}},
		"-registers": {APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create", "update", "delete"}},
	} {
		_, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: name + role}, Rules: []rbacv1.PolicyRule{rule},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	bind := func(role string) {
		t.Helper()
		_, err := rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name + role}, Subjects: subjects, RoleRef: ref(role),
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	bind("-reads")
	config = rest.CopyConfig(b.rcp)
	config.Impersonate.UserName = name
	return config, func() func() {
		bind("-registers")
		return func() {
			if err := rbac.ClusterRoleBindings().Delete(t.Context(), name+"-registers", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			until(t, "the right to register is gone", func(ctx context.Context) bool {
				review, err := kube(t, b.rcp).AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
					Spec: authorizationv1.SubjectAccessReviewSpec{User: name, ResourceAttributes: &authorizationv1.ResourceAttributes{
						Namespace: v1alpha1.Namespace, Verb: "create", Group: "coordination.k8s.io", Resource: "leases",
					}},
				}, metav1.CreateOptions{})
				return err == nil && !review.Status.Allowed
			})
		}
	}
}

// TestWritesNeedARegisteredRouter: a router for which nobody waits before workloads move may be at an epoch that is over.
func TestWritesNeedARegisteredRouter(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "unregistered")
	names := b.fill(t, ns, 2)
	reader, grant := b.readerOfRCP(t, "router-that-reads")
	dir := t.TempDir()
	config, _ := startRouter(t, reader, dir)
	config.Impersonate = rest.ImpersonationConfig{}
	maps := kube(t, impatient(config)).CoreV1().ConfigMaps(ns)
	create := func(ctx context.Context, name string) error {
		_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	refused := func(err error) bool {
		return apierrors.IsServiceUnavailable(err) && strings.Contains(err.Error(), "not registered")
	}
	wantReleased := func(want bool) {
		t.Helper()
		until(t, "what is saved says whether the Lease stands", func(context.Context) bool {
			saved, err := routing.Load(filepath.Join(dir, "routing.json"))
			return err == nil && saved.Released == want
		})
	}
	if _, err := maps.Get(t.Context(), names[0], getOptions()); err != nil {
		t.Errorf("a read through a router that is not registered: %v", err)
	}
	if err := create(t.Context(), "early"); !refused(err) {
		t.Errorf("a create through a router that has never registered: %v; want 503", err)
	}
	if err := maps.Delete(t.Context(), names[0], metav1.DeleteOptions{}); !refused(err) {
		t.Errorf("a deletion through a router that has never registered: %v; want 503", err)
	}
	wantReleased(true)

	revoke := grant()
	until(t, "a write succeeds once the router has registered", func(ctx context.Context) bool { return create(ctx, "registered") == nil })
	wantReleased(false)

	revoke()
	identity, err := membership.Identity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := kube(t, b.rcp).CoordinationV1().Leases(v1alpha1.Namespace).Delete(t.Context(), identity, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, "writes are refused once the router was forgotten", func(ctx context.Context) bool { return refused(create(ctx, "forgotten")) })
	wantReleased(true)

	grant()
	until(t, "a write succeeds once the router has registered again", func(ctx context.Context) bool { return create(ctx, "again") == nil })
	wantReleased(false)
}

// TestALateWriteOfARouterKeepsNoLease has the Lease of a router that stops change between its last look and the
// deletion, as a renewal does that it waited for no longer.
func TestALateWriteOfARouterKeepsNoLease(t *testing.T) {
	b := newBed(t)
	leases := kube(t, b.rcp).CoordinationV1().Leases(v1alpha1.Namespace)
	var once sync.Once
	late := func(r *http.Request) {
		if r.Method != http.MethodDelete || !strings.Contains(r.URL.Path, "/leases/") {
			return
		}
		once.Do(func() {
			patch := []byte(`{"metadata": {"annotations": {"test": "late"}}}`)
			if _, err := leases.Patch(r.Context(), filepath.Base(r.URL.Path), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	rcp := rest.CopyConfig(b.rcp)
	rcp.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			late(r)
			return next.RoundTrip(r)
		})
	})
	before := len(b.acknowledged(t))
	_, stop := startRouter(t, rcp, t.TempDir())
	if during := len(b.acknowledged(t)); during != before+1 {
		t.Errorf("%d Leases while it runs, %d before", during, before)
	}
	stop()
	if after := len(b.acknowledged(t)); after != before {
		t.Errorf("%d Leases after it has stopped; want %d", after, before)
	}
}
