package rebalance_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// refuse has a cell refuse one object of the test, until the returned function is called.
func (b *bed) refuse(cell, name string) (stop func()) {
	b.t.Helper()
	api := b.cells[cell].AdmissionregistrationV1()
	deny := admissionv1.Fail
	_, err := api.ValidatingAdmissionPolicies().Create(b.t.Context(), &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: b.namespace},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &deny,
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				},
			}}},
			Validations: []admissionv1.Validation{{
				Expression: "object.metadata.namespace != '" + b.namespace + "' || object.metadata.name != '" + name + "'", Message: "not here",
			}},
		},
	}, metav1.CreateOptions{})
	b.must(err)
	_, err = api.ValidatingAdmissionPolicyBindings().Create(b.t.Context(), &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: b.namespace},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: b.namespace, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}, metav1.CreateOptions{})
	b.must(err)
	maps := b.cells[cell].CoreV1().ConfigMaps(b.namespace)
	b.await("the policy", func() bool {
		_, err := maps.Create(b.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}},
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil && strings.Contains(err.Error(), "not here")
	})
	stop = func() {
		_ = api.ValidatingAdmissionPolicyBindings().Delete(context.Background(), b.namespace, metav1.DeleteOptions{})
		_ = api.ValidatingAdmissionPolicies().Delete(context.Background(), b.namespace, metav1.DeleteOptions{})
	}
	b.t.Cleanup(stop)
	return stop
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// breakable makes the way to one cell end while down is set.
func breakable(before func(string, *rest.Config), cell string, down *atomic.Bool) func(string, *rest.Config) {
	return breaking(before, cell, down, http.RoundTripper.RoundTrip)
}

// breaking does the same, and goes the way by send while it is there.
func breaking(before func(string, *rest.Config), cell string, down *atomic.Bool,
	send func(http.RoundTripper, *http.Request) (*http.Response, error),
) func(string, *rest.Config) {
	return func(name string, config *rest.Config) {
		before(name, config)
		if name != cell {
			return
		}
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if down.Load() {
					return nil, errors.New("connection refused")
				}
				return send(next, r)
			})
		})
	}
}

func (b *bed) maintenance(cell string, on bool) {
	b.t.Helper()
	c, err := b.client.Cells().Get(b.t.Context(), cell, metav1.GetOptions{})
	b.must(err)
	c.Spec.Maintenance = on
	_, err = b.client.Cells().Update(b.t.Context(), c, metav1.UpdateOptions{})
	b.must(err)
}

func wantRefusal(t testing.TB, err error, words string) {
	t.Helper()
	var refused *exit.Error
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), words) || refused.Hint(exit.Plugin) == "" {
		t.Errorf("error is %v; want one that says %q, with a hint", err, words)
	}
}
