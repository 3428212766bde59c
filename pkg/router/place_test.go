package router

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/router/naming"
)

func createRequest(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/namespaces/a/configmaps", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept-Encoding", "gzip")
	return r
}

// answers is a control plane that gives one answer after the other and notes the names it was asked for.
type answers struct {
	next  []func(w http.ResponseWriter)
	names []string
}

func (a *answers) create(w http.ResponseWriter, r *http.Request, name string, _ bool) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	body, err := naming.Read(r.Header.Get("Content-Type"), data)
	if err != nil || body.Name != name {
		panic(fmt.Sprintf("body names %q, %v; the name is %q", body.Name, err, name))
	}
	a.names = append(a.names, name)
	a.next[0](w)
	a.next = a.next[1:]
}

func status(code int, reason string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		// A proxy flushes what it forwards.
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, `{"kind":"Status","reason":"`+reason+`"}`)
	}
}

func TestATakenNameIsDrawnAgain(t *testing.T) {
	taken := status(http.StatusConflict, "AlreadyExists")
	tests := map[string]struct {
		next  []func(http.ResponseWriter)
		code  int
		draws int
	}{
		"free at once":               {[]func(http.ResponseWriter){status(201, "")}, 201, 1},
		"taken twice":                {[]func(http.ResponseWriter){taken, taken, status(201, "")}, 201, 3},
		"taken, then forbidden":      {[]func(http.ResponseWriter){taken, status(403, "Forbidden")}, 403, 2},
		"conflict of another reason": {[]func(http.ResponseWriter){status(409, "Conflict")}, 409, 1},
		"always taken":               {[]func(http.ResponseWriter){taken, taken, taken, taken, taken, taken, taken, taken}, 409, maxDraws},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			upstream := &answers{next: test.next}
			w := httptest.NewRecorder()
			w.Header().Set("Warning", `299 - "kept"`)
			h := &handler{codecs: codecs()}
			h.place(w, createRequest(`{"metadata":{"generateName":"g-"}}`), upstream.create)
			if w.Code != test.code || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Warning") == "" {
				t.Errorf("answer %d, headers %v; want %d, the content type and the warning", w.Code, w.Header(), test.code)
			}
			if len(upstream.names) != test.draws {
				t.Errorf("%d draws %v; want %d", len(upstream.names), upstream.names, test.draws)
			}
			for i, drawn := range upstream.names[1:] {
				if drawn == upstream.names[i] {
					t.Errorf("the same name twice: %v", upstream.names)
				}
			}
		})
	}
}

func TestAGivenNameIsTriedOnce(t *testing.T) {
	upstream := &answers{next: []func(http.ResponseWriter){status(409, "AlreadyExists")}}
	w := httptest.NewRecorder()
	h := &handler{codecs: codecs()}
	h.place(w, createRequest(`{"metadata":{"name":"x"}}`), upstream.create)
	if w.Code != http.StatusConflict || len(upstream.names) != 1 {
		t.Errorf("answer %d after %d tries; want 409 after one", w.Code, len(upstream.names))
	}
}

func TestOnlySafeRequestsAreSentAgain(t *testing.T) {
	h := &handler{codecs: codecs()}
	for method, want := range map[string]string{http.MethodGet: "1", http.MethodPost: "", http.MethodPatch: "", http.MethodDelete: ""} {
		w := httptest.NewRecorder()
		h.noAnswer(w, httptest.NewRequest(method, "/api/v1/namespaces/a/configmaps/x", nil), "cell-1", io.ErrUnexpectedEOF)
		if got := w.Header().Get("Retry-After"); w.Code != http.StatusServiceUnavailable || got != want {
			t.Errorf("%s: %d, Retry-After %q; want 503 and %q", method, w.Code, got, want)
		}
	}
}
