package router

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/warning"

	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/naming"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
)

// pushTimeout bounds how long the answer to a replicated write waits for a slow cell. It is longer
// than a busy apiserver needs and shorter than a client's patience.
const pushTimeout = 10 * time.Second

// replicate sends a write to the RCP and, once it is accepted there, brings the copies of every cell up
// to date before the client has its answer: what it does next may need them. A cell that cannot be
// brought up to date is named in a warning header; the write itself stands.
func (h *handler) replicate(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo) {
	rcp, err := state.ControlPlane(route.RCP)
	if err != nil {
		h.fail(w, r, route.Unavailable(route.RCP, err.Error()))
		return
	}
	resource := schema.GroupVersionResource{Group: info.APIGroup, Version: info.APIVersion, Resource: info.Resource}
	var objects []replication.Object
	if info.Verb == "deletecollection" {
		if objects, err = collection(r.Context(), state, info, resource, r.URL.Query()); err != nil {
			h.fail(w, r, err)
			return
		}
	}
	answer := &heldAnswer{header: http.Header{}}
	rcp.ServeHTTP(answer, r)
	if answer.code/100 == 2 && r.URL.Query().Get("dryRun") == "" {
		if info.Verb != "deletecollection" {
			objects = []replication.Object{{Resource: resource, Namespace: objectNamespace(info), Name: objectName(info, answer)}}
		}
		// The write is done: a client that goes away now must not leave the copies behind.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), pushTimeout)
		defer cancel()
		for _, why := range h.push(ctx, state, objects) {
			warning.AddWarning(r.Context(), "", why)
		}
	}
	answer.release(w)
}

// objectNamespace is empty for a namespace itself, which request info counts as being in itself.
func objectNamespace(info *request.RequestInfo) string {
	if info.Resource == "namespaces" && info.APIGroup == "" {
		return ""
	}
	return info.Namespace
}

// objectName is the name in the path, or that in the answer to a create.
func objectName(info *request.RequestInfo, answer *heldAnswer) string {
	if info.Name != "" {
		return info.Name
	}
	body, err := naming.Read(answer.header.Get("Content-Type"), answer.body.Bytes())
	if err != nil {
		return ""
	}
	return body.Name
}

// collection lists what a deletecollection is about to delete.
func collection(ctx context.Context, state *feed.State, info *request.RequestInfo, resource schema.GroupVersionResource, query url.Values) ([]replication.Object, error) {
	rcp, err := state.ControlPlane(route.RCP)
	if err != nil {
		return nil, err
	}
	options := metav1.ListOptions{LabelSelector: query.Get("labelSelector"), FieldSelector: query.Get("fieldSelector")}
	list, err := rcp.Dynamic().Resource(resource).Namespace(objectNamespace(info)).List(ctx, options)
	if err != nil {
		return nil, err
	}
	out := make([]replication.Object, len(list.Items))
	for i := range list.Items {
		out[i] = replication.Object{Resource: resource, Namespace: list.Items[i].GetNamespace(), Name: list.Items[i].GetName()}
	}
	return out, nil
}

// push copies the objects to every cell at once and returns a line for each that failed.
func (h *handler) push(ctx context.Context, state *feed.State, objects []replication.Object) []string {
	rcp, err := state.ControlPlane(route.RCP)
	if err != nil {
		return []string{err.Error()}
	}
	cells := state.Snapshot.Table.Cells()
	failures := make([]string, len(cells))
	var pushed sync.WaitGroup
	for i, cell := range cells {
		pushed.Go(func() {
			err := pushTo(ctx, state, rcp, cell, objects)
			if err != nil {
				failures[i] = fmt.Sprintf("cell %s is not up to date: %v", cell, err)
			}
		})
	}
	pushed.Wait()
	var out []string
	for _, failure := range failures {
		if failure != "" {
			out = append(out, failure)
		}
	}
	return out
}

func pushTo(ctx context.Context, state *feed.State, rcp *upstream.ControlPlane, cell string, objects []replication.Object) error {
	plane, err := state.ControlPlane(cell)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := replication.Push(ctx, rcp.Dynamic(), plane.Dynamic(), o); err != nil {
			return err
		}
	}
	return nil
}

// heldAnswer keeps an answer until the copies are made. Writes of Replicated objects are small.
type heldAnswer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *heldAnswer) Header() http.Header { return a.header }

func (a *heldAnswer) WriteHeader(code int) {
	// An informational answer (1xx) precedes the real one.
	if code >= http.StatusOK && a.code == 0 {
		a.code = code
	}
}

func (a *heldAnswer) Write(data []byte) (int, error) {
	if a.code == 0 {
		a.code = http.StatusOK
	}
	return a.body.Write(data)
}

func (a *heldAnswer) release(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = append(w.Header()[name], values...)
	}
	if a.code == 0 {
		a.code = http.StatusBadGateway
	}
	w.WriteHeader(a.code)
	_, _ = w.Write(a.body.Bytes())
}
