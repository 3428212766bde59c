package router_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// TestATokenIsBoundToWhatItsSignerHas: the RCP has objects of the system's namespaces, and a cell, asked for its own token, has its own.
func TestATokenIsBoundToWhatItsSignerHas(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "boundtoken")
	for _, namespace := range []string{ns, metav1.NamespaceSystem} {
		core := kube(t, b.router).CoreV1()
		if _, err := core.ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "bound"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := core.Secrets(namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bound"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		core := kube(t, b.rcp).CoreV1()
		account := core.ServiceAccounts(metav1.NamespaceSystem).Delete(context.Background(), "bound", metav1.DeleteOptions{})
		secret := core.Secrets(metav1.NamespaceSystem).Delete(context.Background(), "bound", metav1.DeleteOptions{})
		if err := errors.Join(account, secret); err != nil {
			t.Error(err)
		}
	})
	ask := func(as *rest.Config, namespace, kind, name string) error {
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: kind, Name: name},
		}}
		_, err := kube(t, as).CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), "bound", request, metav1.CreateOptions{})
		return err
	}
	for kind, name := range map[string]string{"Secret": "bound", "Pod": "p"} {
		err := ask(b.router, ns, kind, name)
		if !apierrors.IsInvalid(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeFieldValueInvalid) || !strings.Contains(err.Error(), "spec.boundObjectRef") ||
			!strings.Contains(err.Error(), "signed by the router control plane") {
			t.Errorf("%s: %v; want invalid, which says why", kind, err)
		}
	}
	if err := ask(b.nobody(), ns, "Secret", "bound"); !apierrors.IsForbidden(err) {
		t.Errorf("without the right to: %v; want forbidden", err)
	}
	if err := ask(b.router, metav1.NamespaceSystem, "Secret", "bound"); err != nil {
		t.Errorf("one that the RCP has: %v", err)
	}
	if err := ask(b.router, metav1.NamespaceSystem, "Secret", "absent"); !apierrors.IsNotFound(err) {
		t.Errorf("one that the RCP would have: %v; want not found", err)
	}
	cell, _ := b.cellOf(t, ns, "bound")
	raw := rest.CopyConfig(b.router)
	raw.Host += "/cells/" + cell
	if err := ask(raw, ns, "Secret", "bound"); err != nil {
		t.Errorf("of %s itself: %v", cell, err)
	}
}
