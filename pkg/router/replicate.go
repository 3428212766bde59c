package router

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/warning"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// writeTimeout bounds a replicated write, the copies of a slow cell included. It is longer than a busy
// apiserver needs and shorter than the patience of most clients.
const writeTimeout = 20 * time.Second

// servedTimeout bounds how long a cell may take to serve a new definition before the client has its
// answer, with a warning. Several apiservers of one cell need 5 s to agree.
const servedTimeout = 10 * time.Second

var errBrokenOff = errors.New("its answer broke off; the write may have been done")

// replicate sends a write to the RCP and, once it is accepted there, brings the copies of every cell up
// to date before the client has its answer: what it does next may need them. A cell that cannot be
// brought up to date is named in a warning header; the write itself stands.
func (h *handler) replicate(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo) {
	resource := schema.GroupVersionResource{Group: info.APIGroup, Version: info.APIVersion, Resource: info.Resource}
	switch {
	case info.Verb == "create" && info.Name == "":
		h.place(w, r, func(w http.ResponseWriter, r *http.Request, name string, _ bool) {
			h.createThrough(w, r, state, info, replication.Object{Resource: resource, Namespace: objectNamespace(info), Name: name})
		})
	case info.Verb == "deletecollection":
		if err := h.authorize(r); err != nil {
			h.fail(w, r, err)
			return
		}
		objects, err := collection(r.Context(), state, info, resource, r.URL.Query())
		if err != nil {
			h.fail(w, r, err)
			return
		}
		h.writeThrough(w, r, state, info, objects)
	default:
		o := replication.Object{Resource: resource, Namespace: objectNamespace(info), Name: info.Name}
		// One that came to the RCP by another way may be deleted: no cell is told.
		if err := reserved(o); err != nil && info.Verb != "delete" {
			h.fail(w, r, err)
			return
		}
		h.writeThrough(w, r, state, info, []replication.Object{o})
	}
}

// reserved refuses a name under which each cell has a part of its fence: it would never be copied there.
func reserved(o replication.Object) error {
	if !fence.Owns(o.Resource.GroupResource(), o.Name) {
		return nil
	}
	return apierrors.NewForbidden(o.Resource.GroupResource(), o.Name,
		errors.New("each cell has its own of that name, which guards objects in migration; choose another name"))
}

// createThrough is writeThrough for a create, whose name is known by now.
func (h *handler) createThrough(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, o replication.Object) {
	if err := reserved(o); err != nil {
		h.fail(w, r, err)
		return
	}
	if replication.WaitsForCells(o) {
		held, err := withFinalizer(r)
		if err != nil {
			h.fail(w, r, apierrors.NewBadRequest("read body: "+err.Error()))
			return
		}
		r = held
	}
	h.writeThrough(w, r, state, info, []replication.Object{o})
}

// writeThrough sends the write to the RCP, then copies the objects that it concerns. A client that goes
// away in the middle, or an answer that breaks off, must not leave the copies behind: unless the RCP
// has refused the write, or would have, each source is read again and its copies follow. Only where the RCP has said that it
// has deleted does a cell lose what has no source and is no copy.
func (h *handler) writeThrough(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, objects []replication.Object) {
	rcp, err := state.ControlPlane(route.RCP)
	if err != nil {
		h.fail(w, r, route.Unavailable(route.RCP, err.Error()))
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), writeTimeout)
	defer cancel()
	answer, dry := newHeldAnswer(), tries(w, r, info)
	whole := unbroken(func() { rcp.ServeHTTP(answer, r.WithContext(ctx)) })
	done := whole && answer.code >= http.StatusOK && answer.code < http.StatusMultipleChoices
	// Of one that was not answered it is not known whether the client had a right to it.
	if !dry && (done || !answer.refused() && h.authorize(r) == nil) {
		for _, why := range push(ctx, state, objects, done && deletes(info)) {
			warning.AddWarning(r.Context(), "", why)
		}
	}
	if !whole || answer.code == 0 {
		h.noAnswer(w, r, route.RCP, errBrokenOff)
		return
	}
	answer.release(w)
}

// unbroken serves into an answer that is held. It is false where what a control plane answers broke off: the proxy says so
// by a panic, which ends one request where it is the server's, and the router in any other goroutine.
func unbroken(serve func()) (whole bool) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic's value is the sentinel itself
			panic(p)
		}
	}()
	serve()
	return true
}

// objectNamespace is empty for a namespace itself, which request info counts as being in itself.
func objectNamespace(info *request.RequestInfo) string {
	if info.Resource == "namespaces" && info.APIGroup == "" {
		return ""
	}
	return info.Namespace
}

// collection lists what a deletecollection is about to delete.
func collection(ctx context.Context, state *feed.State, info *request.RequestInfo, resource schema.GroupVersionResource, query url.Values) ([]replication.Object, error) {
	rcp, err := state.ControlPlane(route.RCP)
	if err != nil {
		return nil, err
	}
	options := metav1.ListOptions{LabelSelector: query.Get("labelSelector"), FieldSelector: query.Get("fieldSelector")}
	list, err := rcp.Dynamic().Resource(resource).Namespace(objectNamespace(info)).List(ctx, options)
	switch {
	case err == nil:
	case apierrors.ReasonForError(err) == metav1.StatusReasonUnknown:
		return nil, noPlane(route.RCP, err)
	default:
		return nil, err
	}
	out := make([]replication.Object, len(list.Items))
	for i := range list.Items {
		out[i] = replication.Object{Resource: resource, Namespace: list.Items[i].GetNamespace(), Name: list.Items[i].GetName()}
	}
	return out, nil
}

// push copies the objects to every cell at once and returns a line for each cell that failed. deleted says that the RCP has
// deleted them, or is about to.
func push(ctx context.Context, state *feed.State, objects []replication.Object, deleted bool) []string {
	rcp, err := state.ControlPlane(route.RCP)
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	objects = slices.DeleteFunc(slices.Clone(objects), func(o replication.Object) bool {
		if !replication.IsQuota(o) {
			return false
		}
		out = append(out, pushQuota(ctx, state, o)...) // in all cells at once, since one has what another has not
		return true
	})
	cells := state.Snapshot.Table.Cells()
	sources := replication.Sharing(ctx, rcp.Dynamic())
	failures := make([]string, len(cells))
	var pushed sync.WaitGroup
	for i, cell := range cells {
		pushed.Go(func() {
			err := pushTo(ctx, state, sources, cell, objects, deleted)
			if err != nil {
				failures[i] = fmt.Sprintf("cell %s is not up to date: %v", cell, err)
			}
		})
	}
	pushed.Wait()
	for _, failure := range failures {
		if failure != "" {
			out = append(out, failure)
		}
	}
	return out
}

func pushTo(ctx context.Context, state *feed.State, sources dynamic.Interface, cell string, objects []replication.Object, deleted bool) error {
	plane, err := state.ControlPlane(cell)
	if err != nil {
		return err
	}
	to := replication.Cell{Name: cell, Client: plane.Dynamic(), Shares: replication.SharesOf(state.Snapshot)}
	var left []error
	copied := replication.Follow
	if deleted {
		copied = replication.Push
	}
	for _, o := range objects {
		err := copied(ctx, sources, to, o)
		if errors.Is(err, replication.ErrForeign) {
			left = append(left, err) // the others are none of its business
			continue
		}
		if err != nil {
			return err
		}
		if err := awaitServed(ctx, to, o); err != nil {
			return err
		}
	}
	return errors.Join(left...)
}

// awaitServed holds the answer back until the cell serves a definition: whoever sees in the RCP that it
// is established may use it through the router in the next request.
func awaitServed(ctx context.Context, cell replication.Cell, o replication.Object) error {
	if !replication.IsDefinition(o) || replication.Excluded(o) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, servedTimeout)
	defer cancel()
	return replication.AwaitServed(ctx, cell, o)
}
