package fence_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/fence"
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

// TestAnOldApiserver has no such policies. What one answers is known; there is none to start here.
func TestAnOldApiserver(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"no such version": func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
		"webhooks alone": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"admissionregistration.k8s.io/v1","resources":[{"name":"validatingwebhookconfigurations"}]}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Method+" "+r.URL.Path)
				answer(w, r)
			}))
			defer server.Close()
			config := &rest.Config{Host: server.URL}
			if report, err := fence.Check(t.Context(), config); err != nil || report.State != fence.Unsupported {
				t.Errorf("check: %v, %v", report, err)
			}
			if _, err := fence.Install(t.Context(), config); !errors.Is(err, fence.ErrUnsupported) {
				t.Errorf("install: %v", err)
			}
			if len(asked) != 2 {
				t.Errorf("asked %v; want nothing but the two looks", asked)
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
