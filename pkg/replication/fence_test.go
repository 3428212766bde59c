package replication_test

import (
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// TestTheFenceIsTheCellsOwn: an object of its name at the RCP, made past the routers, neither overwrites it
// nor takes it along when it goes, whoever copies.
func TestTheFenceIsTheCellsOwn(t *testing.T) {
	rcp, cell := sides(t)
	if _, err := fence.Install(t.Context(), cell.config); err != nil {
		t.Fatal(err)
	}
	sources := []replication.Object{
		{Resource: admissionv1.SchemeGroupVersion.WithResource("validatingadmissionpolicybindings"), Name: fence.Name},
		clusterRole(fence.RoleMover),
	}
	snap, err := routing.FromRing(&v1alpha1.Ring{})
	if err != nil {
		t.Fatal(err)
	}
	wantLive := func(when string) {
		t.Helper()
		for _, o := range sources {
			push(t, rcp, cell, o)
		}
		if _, err := replication.Sync(t.Context(), rcp.config, cell.config, "cell", snap); err != nil {
			t.Fatal(err)
		}
		if found, err := fence.Check(t.Context(), cell.config); err != nil || found.State != fence.Live {
			t.Errorf("%s: %s, %v", when, found, err)
		}
	}
	wantLive("without sources")
	bindings := rcp.kube.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: fence.Name},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: "other", ValidationActions: []admissionv1.ValidationAction{admissionv1.Audit},
		},
	}
	if _, err := bindings.Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	roles := rcp.kube.RbacV1().ClusterRoles()
	if _, err := roles.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: fence.RoleMover}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wantLive("with sources")
	if err := bindings.Delete(t.Context(), fence.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := roles.Delete(t.Context(), fence.RoleMover, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wantLive("after sources")
}
