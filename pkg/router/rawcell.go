package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
)

var errNoRequestInfo = errors.New("no RequestInfo found in the context")

// rawPrefix begins the path of a request for one cell: /cells/NAME/api/v1/pods.
const rawPrefix = "/cells/"

type rawCellKey struct{}

// rawCellFrom returns the cell that a raw request names, and whether the request is raw.
func rawCellFrom(ctx context.Context) (string, bool) {
	cell, ok := ctx.Value(rawCellKey{}).(string)
	return cell, ok
}

// serveRaw sends a raw request to its cell, whatever the ring says, but for writes to a cell that was failed over: what it
// takes nobody would ever see. Marks are as safe from raw writes as from others.
func (h *handler) serveRaw(w http.ResponseWriter, r *http.Request, state *feed.State, cell string) {
	if !state.HasCell(cell) {
		h.fail(w, r, apierrors.NewNotFound(schema.GroupResource{Group: v1alpha1.GroupName, Resource: "cells"}, cell))
		return
	}
	info, _ := request.RequestInfoFrom(r.Context())
	taken, ok := h.admit(w, r, info, route.Route{Action: route.Forward, Source: cell})
	if !ok {
		return
	}
	defer taken.leave()
	writes := mutates(r.Method) && !h.streams(r, info)
	if writes {
		if _, err := keepBody(w, r); err != nil {
			h.fail(w, r, err)
			return
		}
		begun := h.begin(feed.Placed)
		answer := &lastStep{w, begun.End}
		defer answer.end()
		w, state = answer, begun.State
		if state.Snapshot.Unavailable[cell] {
			h.fail(w, r, route.Unavailable(cell, "it was failed over, and takes no writes"))
			return
		}
	}
	plane, err := state.Raw(cell)
	if err != nil {
		h.fail(w, r, route.Unavailable(cell, err.Error()))
		return
	}
	if writes && info.IsResourceRequest {
		manager := r.URL.Query().Get("fieldManager")
		if r, err = h.unforged(w, r, plane, guarded{info: info, manager: manager, moved: state.Snapshot.Epoch > 1}); err != nil {
			h.fail(w, r, err)
			return
		}
	}
	if writes && keepsAccount(w, r, state, info, cell) {
		h.rawWrite(w, r, plane, info)
		return
	}
	h.pass(w, r, plane)
}

// rawWrite sends a raw write of something that is backed up, and puts it into the ledger before it passes the answer
// on as it is.
func (h *handler) rawWrite(w http.ResponseWriter, r *http.Request, plane *upstream.ControlPlane, info *request.RequestInfo) {
	var pod *metav1.PartialObjectMetadata
	if evicts(info) {
		// Where it cannot be read the ledger lacks the UID, and nothing else.
		pod, _ = plane.Metadata().Resource(resourceOf(info)).Namespace(info.Namespace).Get(r.Context(), info.Name, metav1.GetOptions{})
	}
	answer, err := plane.Send(r, upstream.Changes{Header: http.Header{"Accept-Encoding": nil}})
	if err != nil {
		h.noAnswer(w, r, plane.Name(), err)
		return
	}
	if answer.StatusCode < http.StatusMultipleChoices {
		var body []byte
		if err := readAnswer(&body, answer); err != nil {
			h.noAnswer(w, r, plane.Name(), fmt.Errorf("read its answer: %w", err))
			return
		}
		said := answeredBy(answer.Header.Get("Content-Type"), body)
		if evicts(info) {
			info, said = evicted(info, pod)
		}
		if info.Verb == "deletecollection" {
			h.accountAll(plane.Name(), info, said)
		} else {
			h.account(plane.Name(), info, said)
		}
		answer.Body = io.NopCloser(bytes.NewReader(body))
	}
	plane.Pass(w, answer)
}

// withRawCell takes /cells/NAME off the path, so that the filters inside judge the request by what it
// does in the cell.
func withRawCell(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(r.URL.Path, rawPrefix)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		cell, path, _ := strings.Cut(rest, "/")
		inner := r.WithContext(context.WithValue(r.Context(), rawCellKey{}, cell))
		inner.URL = &url.URL{Path: "/" + path, RawQuery: r.URL.RawQuery}
		if raw, ok := strings.CutPrefix(r.URL.EscapedPath(), rawPrefix+cell); ok && raw != "" {
			inner.URL.RawPath = raw
		}
		next.ServeHTTP(w, inner)
	})
}

func requestInfoResolver() *request.RequestInfoFactory {
	return &request.RequestInfoFactory{
		APIPrefixes:          sets.NewString("api", "apis"),
		GrouplessAPIPrefixes: sets.NewString("api"),
	}
}
