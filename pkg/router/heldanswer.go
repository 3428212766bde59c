package router

import (
	"bytes"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// heldAnswer is an answer that is looked at before the client sees it. Those of creates and of writes
// of Replicated objects are small.
type heldAnswer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func newHeldAnswer() *heldAnswer { return &heldAnswer{header: http.Header{}} }

func (a *heldAnswer) Header() http.Header { return a.header }

func (a *heldAnswer) WriteHeader(code int) {
	// An informational answer (1xx) precedes the real one.
	if code >= http.StatusOK && a.code == 0 {
		a.code = code
	}
}

func (a *heldAnswer) Write(data []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(data)
}

// Flush does nothing: it is there so that a proxy finds what it expects of a stream.
func (a *heldAnswer) Flush() {}

// refused says whether the request was definitely not carried out.
func (a *heldAnswer) refused() bool { return a.code >= 400 && a.code < 500 }

// collided says whether a create was refused because the name is taken; quotas and webhooks answer 409
// as well, for other reasons. A Status carries its reason as plain text, in JSON and in protobuf.
func (a *heldAnswer) collided() bool {
	return a.code == http.StatusConflict && bytes.Contains(a.body.Bytes(), []byte(metav1.StatusReasonAlreadyExists))
}

// release sends the answer on. What the filters outside have set, such as warnings, is kept.
func (a *heldAnswer) release(w http.ResponseWriter) {
	if a.code == 0 {
		return // the client went away before there was an answer
	}
	for name, values := range a.header {
		w.Header()[name] = append(w.Header()[name], values...)
	}
	w.WriteHeader(a.code)
	// An error here is the client's connection; there is nobody left to tell.
	_, _ = w.Write(a.body.Bytes())
}
