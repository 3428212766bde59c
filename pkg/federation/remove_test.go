package federation_test

import (
	"context"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

func TestRemoveRefusesACellOfAnyRing(t *testing.T) {
	b := newBed(t)
	b.init(t, 2)
	remove := func() error {
		_, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{Force: true})
		return err
	}
	wantError(t, remove(), exit.Refused, "in the wanted ring", "kubectl cell drain cell-2")
	if _, err := federation.Drain(t.Context(), b.rcp, "cell-2", federation.Options{}); err != nil {
		t.Fatal(err)
	}
	wantError(t, remove(), exit.Refused, "in the current ring")
	ring := b.ring(t)
	ring.Status.Target = ring.Status.Current.DeepCopy()
	ring.Status.Current.Members = ring.Status.Current.Members[:1]
	if _, err := b.cell.Rings().UpdateStatus(t.Context(), ring, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	wantError(t, remove(), exit.Refused, "in its target ring")
}

func TestRemoveRefusesWhatTheCellStillHolds(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	if _, err := b.add(t, "cell-2", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := federation.Drain(t.Context(), b.rcp, "cell-2", federation.Options{}); err != nil {
		t.Fatal(err)
	}
	// The fence lets nobody else make and delete a tombstone.
	inCell, err := kubernetes.NewForConfig(fence.AsMover(b.cells[1]))
	if err != nil {
		t.Fatal(err)
	}
	put := func(ns, name string, kind corev1.SecretType, status v1alpha1.RebalanceStatus) {
		t.Helper()
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: kind}
		if status != "" {
			secret.Labels = map[string]string{v1alpha1.LabelRebalanceStatus: string(status)}
		}
		if _, err := inCell.CoreV1().Secrets(ns).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put("default", "left", corev1.SecretTypeOpaque, "")
	put("default", "gone", corev1.SecretTypeOpaque, v1alpha1.Migrated)
	put(v1alpha1.Namespace, "copy", federation.EnvelopeType, "")
	put(v1alpha1.Namespace, "other", corev1.SecretTypeOpaque, "")

	report, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{})
	wantError(t, err, exit.Refused, "1 sharded objects (secrets default/left)", "1 tombstones", "12h0m0s", "1 envelopes", "--force")
	if r := report.Remains; r.Objects != 1 || r.Tombstones != 1 || r.Envelopes != 1 {
		t.Errorf("remains %+v; want one of each", r)
	}
	for ns, names := range map[string][]string{"default": {"left", "gone"}, v1alpha1.Namespace: {"copy"}} {
		for _, name := range names {
			if err := inCell.CoreV1().Secrets(ns).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("dry run", func(t *testing.T) {
		options := federation.RemoveOptions{Options: federation.Options{DryRun: true}}
		report, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", options)
		cells, secrets := b.stored(t)
		if err != nil || !report.Removed || len(cells) != 2 || len(secrets) != 2 {
			t.Errorf("dry run: %+v, %v, cells %v, secrets %v; want nothing deleted", report, err, cells, secrets)
		}
	})
	report, err = federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{})
	if err != nil || !report.Removed {
		t.Fatalf("remove: %+v, %v", report, err)
	}
	if cells, secrets := b.stored(t); len(cells) != 1 || len(secrets) != 1 {
		t.Errorf("after removal: cells %v, secrets %v; want one each", cells, secrets)
	}
	direct, err := kubernetes.NewForConfig(b.cells[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.CoreV1().Secrets(v1alpha1.Namespace).Get(t.Context(), "other", metav1.GetOptions{}); err != nil {
		t.Errorf("the control plane was touched: %v", err)
	}
	if found, err := fence.Check(t.Context(), b.cells[1]); err != nil || found.State != fence.Missing || len(found.Differences) != 6 {
		t.Errorf("the fence of the cell: %s, %v; want it off", found, err)
	}
}

// lostCell stores a Cell that nobody has credentials for.
func (b *bed) lostCell(t *testing.T, name string) {
	t.Helper()
	lost := &v1alpha1.Cell{ObjectMeta: metav1.ObjectMeta{Name: name}}
	lost.Spec.KubeconfigSecretRef.Name = "cell-" + name
	if _, err := b.cell.Cells().Create(t.Context(), lost, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestRemoveACellThatIsLost(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	b.lostCell(t, "cell-2")
	_, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{})
	wantError(t, err, exit.Refused, "cannot look into cell cell-2", "remove cell-2 --force")
	report, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{Force: true})
	if err != nil || !report.Removed || report.FenceLeft == "" {
		t.Fatalf("forced: %+v, %v; want it removed, and said that the fence is left", report, err)
	}
}

// TestARemovalInPartSaysSo: its Cell is gone, and whoever removes it may not delete credentials.
func TestARemovalInPartSaysSo(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	b.lostCell(t, "cell-2")
	const user = "removes-no-secrets"
	config := rest.CopyConfig(b.rcp)
	config.Impersonate.UserName = user
	roles := b.kube.RbacV1()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"cells"}, Verbs: []string{"delete"}},
	}}
	if _, err := roles.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	if _, err := roles.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		review, err := b.kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: v1alpha1.GroupName, Resource: "cells", Verb: "delete",
			}},
		}, metav1.CreateOptions{})
		return err == nil && review.Status.Allowed, err
	})
	if err != nil {
		t.Fatal(err)
	}
	report, err := federation.RemoveCell(t.Context(), config, "cell-2", federation.RemoveOptions{FailedOver: true})
	wantError(t, err, exit.Partial, "cell cell-2 is deleted", "delete the credentials of cell cell-2", "delete secret cell-cell-2 ")
	if !report.Removed {
		t.Errorf("%+v; want it said that there is no such cell any more", report)
	}
	if cells, _ := b.stored(t); len(cells) != 1 {
		t.Errorf("cells %v, want one", cells)
	}
}

func TestRemovalResumes(t *testing.T) {
	b := newBed(t)
	b.init(t, 1)
	left := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cell-cell-2"}}
	if _, err := b.kube.CoreV1().Secrets(v1alpha1.Namespace).Create(t.Context(), left, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	report, err := federation.RemoveCell(t.Context(), b.rcp, "cell-2", federation.RemoveOptions{})
	if err != nil || !report.Removed {
		t.Fatalf("remove: %+v, %v; want the Secret gone", report, err)
	}
	if _, secrets := b.stored(t); len(secrets) != 1 {
		t.Errorf("secrets %v", secrets)
	}
}
