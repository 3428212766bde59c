package fence_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestOnlyTheFencesRefusalIsTaken for it: whoever makes objects chooses their names, and whoever makes
// policies their words.
func TestOnlyTheFencesRefusalIsTaken(t *testing.T) {
	const words = "ValidatingAdmissionPolicy 'kubecell-fence' with binding 'kubecell-fence' denied request: "
	forbidden := func(name, cause string) error {
		err := apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, name, errors.New(cause))
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{Message: cause}}
		return err
	}
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "x", nil)
	invalid.ErrStatus.Details.Causes = []metav1.StatusCause{{Message: words}}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"none":                {nil, false},
		"the fence":           {forbidden("x", words+"kubecell fence: configmaps a/x is in migration"), true},
		"wrapped":             {fmt.Errorf("update: %w", forbidden("x", words)), true},
		"another policy":      {forbidden("x", "ValidatingAdmissionPolicy 'other' with binding 'kubecell-fence' denied request: "+words), false},
		"another binding":     {forbidden("x", "ValidatingAdmissionPolicy 'kubecell-fence' with binding 'other' denied request: "), false},
		"in the name":         {forbidden(words, "no rights"), false},
		"rights":              {apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "x", errors.New(words)), false},
		"invalid":             {invalid, false},
		"no answer":           {errors.New(words), false},
		"a time-out of words": {context.DeadlineExceeded, false},
	} {
		if got := fence.IsRefusal(test.err); got != test.want {
			t.Errorf("%s: %v; want %v", name, got, test.want)
		}
	}
	if fence.IsRefusalStatus(metav1.Status{Status: metav1.StatusSuccess}) {
		t.Error("a success is taken for a refusal")
	}
}

// TestAnApiserverWithoutPolicies gets the mover's rights and nothing else: what moves there has to be written as well.
func TestAnApiserverWithoutPolicies(t *testing.T) {
	for name, answer := range map[string]sandboxtest.Answer{
		"no such version": sandboxtest.NoPolicies,
		"webhooks alone": func(w http.ResponseWriter, r *http.Request) (answered bool) {
			if r.URL.Path != "/apis/admissionregistration.k8s.io/v1" {
				return sandboxtest.NoPolicies(w, r)
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"admissionregistration.k8s.io/v1","resources":[{"name":"validatingwebhookconfigurations"}]}`)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := bare(t)
			if err := fence.Remove(t.Context(), c.config); err != nil {
				t.Fatal(err)
			}
			config := sandboxtest.Proxy(t, c.config, answer)
			report, err := fence.Check(t.Context(), config)
			if want := []string{"clusterrole/kubecell-mover is missing", "clusterrolebinding/kubecell-mover is missing"}; err != nil ||
				report.State != fence.Drifted || !slices.Equal(report.Differences, want) {
				t.Errorf("check of one that never had a fence: %s, %v; want %q", report, err, want)
			}
			for _, want := range []bool{true, false} {
				if changed, err := fence.Install(t.Context(), config); !errors.Is(err, fence.ErrUnsupported) || changed != want {
					t.Errorf("install: changed %t, %v", changed, err)
				}
			}
			if err := fence.AwaitMover(t.Context(), config); err != nil {
				t.Error(err)
			}
			if report, err := fence.Check(t.Context(), config); err != nil || report.State != fence.Unsupported {
				t.Errorf("check: %s, %v", report, err)
			}
			if report := c.check(t); report.State != fence.Missing || len(report.Differences) != 4 {
				t.Errorf("installed was more than the rights; there lacks %s", report)
			}
		})
	}
	t.Run("one that fails", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
		defer server.Close()
		if report, err := fence.Check(t.Context(), &rest.Config{Host: server.URL}); err == nil || errors.Is(err, fence.ErrUnsupported) {
			t.Errorf("check: %v, %v; want an error, and not Unsupported", report, err)
		}
	})
}
