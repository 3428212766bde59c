package router

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// notAcrossCells refuses what cannot be answered by all cells together yet. Refusing is safer than an
// answer that misses something: an informer that starts from a merged watch would trust it.
func notAcrossCells(info *request.RequestInfo) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusNotImplemented,
		Reason:  metav1.StatusReasonMethodNotAllowed,
		Message: fmt.Sprintf("%s of %s is not served across cells; name one object (fieldSelector metadata.name) or ask one cell (/cells/NAME)", info.Verb, info.Resource),
	}}
}

// list asks all sources at once and merges their answers. Where one does not answer the whole list
// fails: a list with objects missing would look like their deletion.
func (h *handler) list(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, sources []string) {
	if len(sources) == 0 {
		h.fail(w, r, route.Unavailable("", "the federation has no cells yet"))
		return
	}
	encoding, err := merge.Negotiate(r.Header.Get("Accept"))
	if err != nil {
		h.fail(w, r, notAcceptable(err))
		return
	}
	query, rows, err := upstreamQuery(r.URL.Query())
	if err != nil {
		h.fail(w, r, err)
		return
	}
	parts, failure := h.ask(r, state, sources, query, encoding.Upstream)
	if failure != nil {
		h.answerFailure(w, r, failure)
		return
	}
	visible := func(source, namespace, name string) bool {
		if namespace == "" {
			namespace = info.Namespace
		}
		owner := route.Owner(info.APIGroup, info.Resource, namespace, name, state.Snapshot)
		return owner == "" || owner == source
	}
	var out bytes.Buffer
	if err := merge.Lists(&out, parts, visible, rows); err != nil {
		h.fail(w, r, apierrors.NewInternalError(err))
		return
	}
	writeList(w, out.Bytes(), encoding.YAML)
}

// upstreamQuery turns the client's query into that for each source. A merged list is one whole answer,
// newest everywhere: more than limit allows a server to leave out, and never older than
// resourceVersion asks for.
func upstreamQuery(query url.Values) (url.Values, merge.RowObjects, error) {
	if query.Get("continue") != "" {
		return nil, false, apierrors.NewBadRequest("continue key is not valid: lists over several cells are not continued")
	}
	for _, parameter := range []string{"limit", "resourceVersion", "resourceVersionMatch"} {
		query.Del(parameter)
	}
	rows := merge.KeepRowObjects
	if query.Get("includeObject") == string(metav1.IncludeNone) {
		query.Set("includeObject", string(metav1.IncludeMetadata))
		rows = merge.DropRowObjects
	}
	return query, rows, nil
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

// failedPart is an answer that is no list: the Status of a source, or none at all.
type failedPart struct {
	source string
	answer *http.Response
	body   []byte
	err    error
	// shared is true for a refusal that every source gives alike.
	shared bool
}

// status is the code of the answer, 0 where there is none.
func (f *failedPart) status() int {
	if f == nil || f.answer == nil {
		return 0
	}
	return f.answer.StatusCode
}

// refusal says whether the source refuses the request itself: forbidden, not found, bad request. Too
// many requests says something of the source, and so does unauthorised: the user is the router's there.
func (f *failedPart) refusal() bool {
	code := f.status()
	return code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusUnauthorized
}

// ask sends the list to all sources and reads their answers.
func (h *handler) ask(r *http.Request, state *feed.State, sources []string, query url.Values, accept string) ([]merge.Part, *failedPart) {
	parts := make([]merge.Part, len(sources))
	failures := make([]*failedPart, len(sources))
	var asked sync.WaitGroup
	for i, source := range sources {
		asked.Go(func() {
			body, failure := h.askOne(r.Context(), r, state, source, query, accept)
			parts[i], failures[i] = merge.Part{Source: source, Body: bytes.NewReader(body)}, failure
		})
	}
	asked.Wait()
	return parts, worst(failures)
}

func (h *handler) askOne(ctx context.Context, r *http.Request, state *feed.State, source string, query url.Values, accept string) ([]byte, *failedPart) {
	plane, err := state.ControlPlane(source)
	if err != nil {
		return nil, &failedPart{source: source, err: err}
	}
	out := r.Clone(ctx)
	out.URL.RawQuery = query.Encode()
	out.Header.Set("Accept", accept)
	// The transport asks for gzip by itself and unpacks it.
	out.Header.Del("Accept-Encoding")
	out.Body = http.NoBody
	answer, err := plane.Do(out)
	if err != nil {
		return nil, &failedPart{source: source, err: err}
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, &failedPart{source: source, err: err}
	}
	if answer.StatusCode != http.StatusOK {
		return nil, &failedPart{source: source, answer: answer, body: body}
	}
	return body, nil
}

// answerFailure passes on a refusal that every source would give (forbidden, not found, bad request)
// and turns everything else into 503 with the source's name.
func (h *handler) answerFailure(w http.ResponseWriter, r *http.Request, failure *failedPart) {
	switch {
	case failure.err != nil:
		h.fail(w, r, route.Unavailable(failure.source, failure.err.Error()))
	case failure.shared:
		w.Header().Set("Content-Type", failure.answer.Header.Get("Content-Type"))
		w.WriteHeader(failure.answer.StatusCode)
		_, _ = w.Write(failure.body)
	default:
		h.fail(w, r, route.Unavailable(failure.source, failure.answer.Status))
	}
}

func notAcceptable(err error) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable, Message: err.Error(),
	}}
}

func writeList(w http.ResponseWriter, data []byte, asYAML bool) {
	contentType := runtime.ContentTypeJSON
	if asYAML {
		if converted, err := yaml.JSONToYAML(data); err == nil {
			data, contentType = converted, runtime.ContentTypeYAML
		}
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(http.StatusOK)
	// An error here is the client's connection; there is nobody left to tell.
	_, _ = w.Write(data)
}
