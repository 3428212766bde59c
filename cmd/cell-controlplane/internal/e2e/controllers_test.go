package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func makeNamespace(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	_, err := client.CoreV1().Namespaces().
		Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// A namespace gets what every namespace gets, and goes away with all that is in it.
func namespaceIsFurnishedAndEmptied(t *testing.T, p *plane) {
	client, name := p.client(), "furnished"
	makeNamespace(t, client, name)
	eventually(t, "default service account", func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	eventually(t, "root CA", func(ctx context.Context) error {
		ca, err := client.CoreV1().ConfigMaps(name).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		if err == nil && ca.Data["ca.crt"] != string(p.config().CAData) {
			t.Errorf("root CA is not that of the control plane:\n%s", ca.Data["ca.crt"])
		}
		return err
	})
	if err := client.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "end of the namespace", func(ctx context.Context) error {
		return absent(client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{}))
	})
}

func dependentsAreCollected(t *testing.T, p *plane) {
	maps := p.client().CoreV1().ConfigMaps("default")
	owner, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name:            "dependent",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := maps.Delete(t.Context(), owner.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "end of the dependent", func(ctx context.Context) error {
		return absent(maps.Get(ctx, "dependent", metav1.GetOptions{}))
	})
}

func quotaIsCountedAndEnforced(t *testing.T, p *plane) {
	client, name := p.client(), "limited"
	makeNamespace(t, client, name)
	limit := corev1.ResourceList{"count/secrets": resource.MustParse("1")}
	_, err := client.CoreV1().ResourceQuotas(name).Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "limit"},
		Spec:       corev1.ResourceQuotaSpec{Hard: limit},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "first count", func(ctx context.Context) error {
		quota, err := client.CoreV1().ResourceQuotas(name).Get(ctx, "limit", metav1.GetOptions{})
		if err == nil && len(quota.Status.Used) == 0 {
			err = errors.New("nothing is counted yet")
		}
		return err
	})
	create := func(name string) error {
		_, err := client.CoreV1().Secrets("limited").
			Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		return err
	}
	if err := create("first"); err != nil {
		t.Fatal(err)
	}
	if err := create("second"); !apierrors.IsForbidden(err) {
		t.Errorf("creating more than the quota allows: got %v, want forbidden", err)
	}
	if err := client.CoreV1().Secrets(name).Delete(t.Context(), "first", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "room after a deletion", func(context.Context) error { return create("third") })
}

func rolesAreAggregated(t *testing.T, p *plane) {
	roles := p.client().RbacV1().ClusterRoles()
	_, err := roles.Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "more", Labels: map[string]string{"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"example.test"}, Resources: []string{"things"}, Verbs: []string{"get"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "rule in the role view", func(ctx context.Context) error {
		view, err := roles.Get(ctx, "view", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, rule := range view.Rules {
			if len(rule.APIGroups) == 1 && rule.APIGroups[0] == "example.test" {
				return nil
			}
		}
		return fmt.Errorf("it is not among %d rules", len(view.Rules))
	})
}

// No controller of volumes runs, so nothing may wait for one.
func volumeClaimsCanBeDeleted(t *testing.T, p *plane) {
	claims := p.client().CoreV1().PersistentVolumeClaims("default")
	_, err := claims.Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "claim"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := claims.Delete(t.Context(), "claim", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := absent(claims.Get(t.Context(), "claim", metav1.GetOptions{})); err != nil {
		t.Error(err)
	}
}

func absent(_ any, err error) error {
	if err == nil {
		return errors.New("it is still there")
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
