package router_test

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// TestNobodyReplacesTheCellsFences: what is Replicated has its truth at the RCP, but for what is called as a
// part of a fence is.
func TestNobodyReplacesTheCellsFences(t *testing.T) {
	b := newBed(t)
	c := kube(t, b.router)
	policies := c.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: fence.Name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{"example.com"}, APIVersions: []string{"v1"}, Resources: []string{"nothings"}},
				},
			}}},
			Validations: []admissionv1.Validation{{Expression: "true"}},
		},
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: fence.RoleMover}}
	writes := map[string]func() error{
		"create a policy": func() error {
			_, err := policies.Create(t.Context(), policy.DeepCopy(), metav1.CreateOptions{})
			return err
		},
		"patch the policy": func() error {
			_, err := policies.Patch(t.Context(), fence.Name, types.MergePatchType, []byte(`{"spec":{"failurePolicy":"Ignore"}}`), metav1.PatchOptions{})
			return err
		},
		"apply the policy": func() error {
			body := []byte("apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: kubecell-fence}\nspec: {failurePolicy: Ignore}\n")
			_, err := policies.Patch(t.Context(), fence.Name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "test"})
			return err
		},
		"create a role": func() error {
			_, err := c.RbacV1().ClusterRoles().Create(t.Context(), role.DeepCopy(), metav1.CreateOptions{})
			return err
		},
	}
	for name, write := range writes {
		if err := write(); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "each cell has its own of that name") {
			t.Errorf("%s: %v; want a refusal that says why", name, err)
		}
	}
	t.Run("at the RCP", func(t *testing.T) {
		direct := kube(t, b.rcp).AdmissionregistrationV1().ValidatingAdmissionPolicies()
		if _, err := direct.Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		// It may go through the router: no cell is told.
		if err := policies.Delete(t.Context(), fence.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	for cell, config := range b.cells {
		if found, err := fence.Check(t.Context(), config); err != nil || found.State != fence.Live {
			t.Errorf("%s: %s, %v", cell, found, err)
		}
	}
}
