package router

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// failedPart is an answer that is no list: the Status of a source, or none at all.
type failedPart struct { //nolint:errname // a part, of which the error is one form
	source string
	answer *http.Response
	body   []byte
	err    error
	// shared is true for a refusal that every source gives alike.
	shared bool
}

// Error says which source failed, and how. It wraps nothing: what broke a connection may look like the end of a list.
func (f *failedPart) Error() string {
	if f.err != nil {
		return fmt.Sprintf("%s: %v", f.source, f.err)
	}
	return fmt.Sprintf("%s: %s", f.source, f.answer.Status)
}

// status is the code of the answer, 0 where there is none.
func (f *failedPart) status() int {
	if f == nil || f.answer == nil {
		return 0
	}
	return f.answer.StatusCode
}

// fenced says whether the source refuses to write an object that is on the move.
func (f *failedPart) fenced() bool {
	return f.status() == http.StatusForbidden && bytes.Contains(f.body, []byte(fence.MessagePrefix))
}

// refusal says whether the source refuses the request itself: forbidden, not found, bad request. Too
// many requests says something of the source, and so does unauthorised: the user is the router's there.
func (f *failedPart) refusal() bool {
	code := f.status()
	return code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusUnauthorized
}

// ahead says whether the source has not come as far as the version that is asked for. Clients look for the cause, and ask
// for less then.
func (f *failedPart) ahead() bool {
	return f.status() == http.StatusGatewayTimeout && bytes.Contains(f.body, []byte(metav1.CauseTypeResourceVersionTooLarge))
}

// worst returns the failure to tell: none, the refusal on which all sources agree, or else the first
// that is one source's own.
func worst(failures []*failedPart) *failedPart {
	agreed := 0
	var first *failedPart
	for _, f := range failures {
		switch {
		case f == nil:
			continue
		case first == nil:
			first = f
		}
		if f.refusal() && f.answer.StatusCode == failures[0].status() {
			agreed++
		}
	}
	if first != nil {
		first.shared = agreed == len(failures)
	}
	return first
}

// answerFailure passes on a refusal that every source would give (forbidden, not found, bad request), and that of a version
// which a source has not come to. It turns everything else into 503 with the source's name.
func (h *handler) answerFailure(w http.ResponseWriter, r *http.Request, failure *failedPart) {
	switch {
	case failure.err != nil:
		h.fail(w, r, route.Unavailable(failure.source, failure.err.Error()))
	case failure.shared, failure.ahead():
		for _, name := range []string{"Content-Type", "Retry-After"} {
			if value := failure.answer.Header.Get(name); value != "" {
				w.Header().Set(name, value)
			}
		}
		body := failure.body
		if _, asYAML := singleAccept(strings.Join(r.Header["Accept"], ",")); asYAML && w.Header().Get("Content-Type") == runtime.ContentTypeJSON {
			if converted, err := yaml.JSONToYAML(body); err == nil {
				w.Header().Set("Content-Type", runtime.ContentTypeYAML)
				body = converted
			}
		}
		w.WriteHeader(failure.answer.StatusCode)
		_, _ = w.Write(body)
	default:
		h.fail(w, r, route.Unavailable(failure.source, failure.answer.Status))
	}
}

func notAcceptable(err error) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable, Message: err.Error(),
	}}
}
