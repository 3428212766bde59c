package e2e

import (
	"context"
	"errors"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The fence is made of such policies: once effective, one refuses a write for whoever makes it.
func admissionPolicyWorks(t *testing.T, p *plane) {
	client := p.client()
	makeNamespace(t, client, "fenced")
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "frozen"},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Update, admissionv1.Delete},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				},
			}}},
			Validations: []admissionv1.Validation{{
				Expression: `!has(oldObject.metadata.labels) || !('frozen' in oldObject.metadata.labels)`,
				Message:    "this object is frozen",
			}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "frozen"},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: "frozen", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
	admission := client.AdmissionregistrationV1()
	if _, err := admission.ValidatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admission.ValidatingAdmissionPolicyBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	maps := client.CoreV1().ConfigMaps("fenced")
	frozen := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "ice", Labels: map[string]string{"frozen": ""}}}
	if _, err := maps.Create(t.Context(), frozen, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refusal of a write", func(ctx context.Context) error {
		_, err := maps.Update(ctx, frozen, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return errors.New("the write is allowed")
		}
		if !apierrors.IsInvalid(err) {
			return err
		}
		return nil
	})
	if err := maps.Delete(t.Context(), "ice", metav1.DeleteOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("deleting: got %v, want it refused", err)
	}
}
