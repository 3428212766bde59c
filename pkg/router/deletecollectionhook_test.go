package router_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conflicting lets a webhook of a cell answer each deletion of a config map in a namespace with a conflict,
// until the test ends.
func (b *bed) conflicting(t *testing.T, cell, ns string) {
	t.Helper()
	b.webhook(t, cell, ns, "configmaps", admissionregistrationv1.Delete, func(review *admissionv1.AdmissionReview) *admissionv1.AdmissionResponse {
		dry := review.Request.DryRun != nil && *review.Request.DryRun
		return &admissionv1.AdmissionResponse{Allowed: dry,
			Result: &metav1.Status{Code: http.StatusConflict, Reason: metav1.StatusReasonConflict, Message: "still in use"}}
	})
}

// webhook lets a cell ask before each operation of that kind on a core resource in a namespace, until the test ends.
func (b *bed) webhook(t *testing.T, cell, ns, resource string, operation admissionregistrationv1.OperationType, answer func(*admissionv1.AdmissionReview) *admissionv1.AdmissionResponse) {
	t.Helper()
	hook := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
			return
		}
		review.Response = answer(&review)
		review.Response.UID = review.Request.UID
		if err := json.NewEncoder(w).Encode(&review); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(hook.Close)
	patience := int32(30)
	none, fail, equivalent := admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.Fail, admissionregistrationv1.Equivalent
	hooks := kube(t, b.cells[cell]).AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := hooks.Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: ns},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "hook.example.com", SideEffects: &none, FailurePolicy: &fail, TimeoutSeconds: &patience, MatchPolicy: &equivalent, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &hook.URL,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw})},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": ns}},
			Rules: []admissionregistrationv1.RuleWithOperations{{Operations: []admissionregistrationv1.OperationType{operation},
				Rule: admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{resource}}}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hooks.Delete(context.Background(), ns, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// TestAConflictThatIsNotOursIsTold: a webhook keeps objects, and the deletion must not count them as done.
func TestAConflictThatIsNotOursIsTold(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "delcollhook")
	names := b.oneOfEach(t, ns)
	b.conflicting(t, "cell-2", ns)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	until(t, "the webhook is asked", func(ctx context.Context) bool {
		err := maps.Delete(ctx, names["cell-2"], metav1.DeleteOptions{})
		if err == nil { // the cell does not know of it yet
			_, err = maps.Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: names["cell-2"], Labels: map[string]string{"parity": "even"}},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return false
		}
		return apierrors.IsConflict(err)
	})
	err := maps.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "parity"})
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "cell-2") || !strings.Contains(err.Error(), "still in use") {
		t.Errorf("%v; want a conflict that names cell-2 and says why", err)
	}
	if _, err := maps.Get(t.Context(), names["cell-2"], getOptions()); err != nil {
		t.Errorf("what the webhook keeps: %v", err)
	}
	if _, err := maps.Get(t.Context(), names["cell-1"], getOptions()); !apierrors.IsNotFound(err) {
		t.Errorf("what another cell has: %v; want it deleted", err)
	}
}
