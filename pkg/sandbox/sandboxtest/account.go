package sandboxtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Account is one of a control plane which may everything there.
type Account struct {
	// Name of the ServiceAccount in kube-system, and of what it may.
	Name string
	// Config is to reach the control plane as that account.
	Config *rest.Config
	// Forbid takes its rights away. Control planes hear of that a moment later.
	Forbid func()
	// Delete takes the account itself away. A control plane believes a token for ten seconds more.
	Delete func()
}

// User is what the control plane calls it.
func (a *Account) User() string {
	return "system:serviceaccount:" + metav1.NamespaceSystem + ":" + a.Name
}

// NewAccount makes one in the control plane of which admin is the administrator.
func NewAccount(t testing.TB, admin *rest.Config) *Account {
	t.Helper()
	kube, err := kubernetes.NewForConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("federation-%d", time.Now().UnixNano())
	accounts, bindings := kube.CoreV1().ServiceAccounts(metav1.NamespaceSystem), kube.RbacV1().ClusterRoleBindings()
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = bindings.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: metav1.NamespaceSystem}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := accounts.CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(admin)
	config.BearerToken = token.Status.Token
	remove := func(remove func(context.Context, string, metav1.DeleteOptions) error) func() {
		return func() {
			if err := remove(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}); err != nil {
				t.Errorf("take %s away: %v", name, err)
			}
		}
	}
	return &Account{Name: name, Config: config, Forbid: remove(bindings.Delete), Delete: remove(accounts.Delete)}
}
