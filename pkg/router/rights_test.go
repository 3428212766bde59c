package router_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// nobody is a user without rights.
func (b *bed) nobody() *rest.Config {
	nobody := rest.CopyConfig(b.router)
	nobody.Impersonate = rest.ImpersonationConfig{UserName: "nobody"}
	return nobody
}

// TestNobodyHasTheRouterMakeRoom by what he calls an object: the words of his refusal are those of a full quota.
func TestNobodyHasTheRouterMakeRoom(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "noroom")
	quotas := kube(t, b.router).CoreV1().ResourceQuotas(ns)
	_, err := quotas.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "q"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("9")}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	record := func() string {
		t.Helper()
		q, err := kube(t, b.rcp).CoreV1().ResourceQuotas(ns).Get(t.Context(), "q", getOptions())
		if err != nil {
			t.Fatal(err)
		}
		return q.Annotations[v1alpha1.AnnotationQuota]
	}
	before := record()
	for _, pods := range []int{5, 999999} {
		name := fmt.Sprintf("exceeded quota: q, requested: pods=%d, used: pods=1, limited: pods=1", pods)
		err := kube(t, b.nobody()).CoreV1().RESTClient().Get().AbsPath("/api/v1/namespaces/"+ns+"/configmaps", name).Do(t.Context()).Error()
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `User "nobody" cannot get`) {
			t.Errorf("%d pods: %v; want the refusal of who may not get it", pods, err)
		}
	}
	if after := record(); after != before {
		t.Errorf("the quota was divided anew for nobody:\n%s\n%s", before, after)
	}
}

// TestOwnersAreLookedForWithinBounds: their names become parts of paths, which the router asks for with its own rights.
func TestOwnersAreLookedForWithinBounds(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "bounds")
	post := func(as *rest.Config, owners ...metav1.OwnerReference) error {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "x-", OwnerReferences: owners}}
		_, err := kube(t, as).CoreV1().ConfigMaps(ns).Create(t.Context(), cm, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	astray := metav1.OwnerReference{APIVersion: "v1", Kind: "Pods/../../../../../openapi/v3/Api", Name: "v1", UID: "u"}
	if err := post(b.nobody(), astray); !apierrors.IsForbidden(err) {
		t.Errorf("nobody, astray: %v; want forbidden", err)
	}
	if err := post(b.router, astray); err != nil {
		t.Errorf("an owner that can be nowhere: %v; want what an apiserver says to that", err)
	}
	var many []metav1.OwnerReference
	for i := range 65 {
		many = append(many, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "o", UID: types.UID(fmt.Sprint(i))})
	}
	if err := post(b.nobody(), many...); !apierrors.IsForbidden(err) {
		t.Errorf("nobody, many: %v; want forbidden", err)
	}
	if err := post(b.router, many...); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "must have at most 64 items") {
		t.Errorf("65 owners: %v; want that they are too many", err)
	}
}

// TestAMarkTellsNobodyWhatThereIs, which is refused alike whether there is such an object.
func TestAMarkTellsNobodyWhatThereIs(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "oracle")
	if _, err := kube(t, b.router).CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "there"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"there", "absent"} {
		marked := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{v1alpha1.AnnotationPlacementEpoch: "x"}}}
		_, err := kube(t, b.nobody()).CoreV1().Secrets(ns).Update(t.Context(), marked, metav1.UpdateOptions{})
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `User "nobody" cannot update`) {
			t.Errorf("%s: %v; want the refusal of who may not update it", name, err)
		}
	}
}

// TestADeletionWhoseBodyCountsIsReplicated though its query says that it is a dry run: an apiserver goes by the body.
func TestADeletionWhoseBodyCountsIsReplicated(t *testing.T) {
	b := newBed(t)
	name := "body-counts"
	roles := kube(t, b.router).RbacV1().ClusterRoles()
	if _, err := roles.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	code, body := b.send(t, http.MethodDelete, "/apis/rbac.authorization.k8s.io/v1/clusterroles/"+name+"?dryRun=All", "application/json",
		`{"kind":"DeleteOptions","apiVersion":"v1"}`)
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	for cell, config := range b.all() {
		if _, err := kube(t, config).RbacV1().ClusterRoles().Get(context.WithoutCancel(t.Context()), name, getOptions()); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v; want it gone", cell, err)
		}
	}
}
