package router

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

var errNoSlot = errors.New("the ring has no slot for it, so that versions of its objects cannot be shown")

// versioned says whether the resource versions of a resource's objects are rewritten: wherever its
// objects may come from several control planes. It goes by the resource alone, since one list over all
// namespaces shows those of the system's own as well.
func versioned(info *request.RequestInfo, snap *routing.Snapshot) bool {
	if !info.IsResourceRequest {
		return false
	}
	class, _ := snap.Classes.Of(info.APIGroup, info.Resource, "")
	return class == placement.Sharded || class == placement.Local || class == placement.Dependent
}

// connects says whether a request is a connection to something behind the object and not about the
// object: it streams.
func connects(info *request.RequestInfo) bool {
	switch info.Subresource {
	case "log", "exec", "attach", "portforward", "proxy":
		return true
	}
	return false
}

// single serves a request for one object from the one control plane that has it. Versions in the body and
// in the query become that control plane's own, and those in its answer become the router's. Where the object
// turns out to be on the move, it looks again.
func (h *handler) single(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, source string) {
	if connects(info) {
		h.forward(w, r, state, source)
		return
	}
	of, err := h.behind(r, state, info, source)
	switch {
	case err != nil:
		h.fail(w, r, noPlane(source, err))
		return
	case of != nil && mayNotPass(r, of):
		h.again(w, r, state, info)
		return
	}
	x := h.exchange(w, r, state, info, target{source: source, of: of})
	switch {
	case x == nil:
	case x.seen == shown && x.conflicts() && h.lies(r, state, info, source):
		x.discard()
		h.move(w, r, info)
	case x.seen == shown || x.seen == absent:
		x.answerTo(w)
	case x.seen == taken && (source == route.RCP || route.HasNoPlace(info, state.Snapshot)):
		x.answerTo(w)
	case route.HasNoPlace(info, state.Snapshot) && x.seen == arriving && !mutates(r.Method):
		x.answerTo(w) // the only one that there is
	default:
		x.discard()
		h.again(w, r, state, info)
	}
}

// again serves a request for what was met on the move: it looks where the object is now, or has the client come again
// where only [handler.find] can tell.
func (h *handler) again(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo) {
	if route.HasNoPlace(info, state.Snapshot) {
		h.comeAgain(w, r, info)
		return
	}
	h.move(w, r, info)
}

// conflicts says whether a write was refused for the version or the UID of what is there.
func (x *exchange) conflicts() bool {
	return x.answer.StatusCode == http.StatusConflict && x.info.Verb != "create"
}

// lies says whether it is a tombstone or a copy that the request has met, or may have been before it was buried: a cell
// compares versions before its fence looks, and to the client there is nothing whose version could be another one.
func (h *handler) lies(r *http.Request, state *feed.State, info *request.RequestInfo, source string) bool {
	if source == route.RCP || state.Snapshot.Epoch <= 1 {
		return false // nothing has ever moved
	}
	found, err := metadataIn(r.Context(), state, info, source)
	switch {
	case err != nil:
		return false
	case found == nil:
		return !route.HasNoPlace(info, state.Snapshot) // only by its key it can be looked for
	}
	return statusOf(found) != "" && statusOf(found) != v1alpha1.Migrating
}

// target is where a request for one object goes, and what it must not do there.
type target struct {
	source string
	// epoch is set on an object that is made where its key moves to; 0 for none.
	epoch int64
	// dryRun asks what would become of the request.
	dryRun bool
	// uid is the object that the request is about, "" where it may be any: a write that would make the object must
	// not do so where its key moves from.
	uid types.UID
	// of is the object whose Scale is asked for, or that is to be evicted, nil where it is not needed.
	of *metav1.PartialObjectMetadata
}

// exchange sends a request for one object and looks at what comes back. It is nil where there is no answer;
// then the client has its own.
func (h *handler) exchange(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, to target) *exchange {
	plane, err := state.ControlPlane(to.source)
	if err != nil {
		h.fail(w, r, noPlane(to.source, err))
		return nil
	}
	slot, ok := route.Slot(to.source, state.Snapshot)
	if !ok {
		h.fail(w, r, noPlane(to.source, errNoSlot))
		return nil
	}
	changes, asYAML, err := h.singleChanges(w, r, state, plane, info, slot, to)
	switch {
	case errors.Is(err, errElsewhere):
		return &exchange{h: h, r: r, info: info, plane: plane, seen: left, answer: &http.Response{StatusCode: http.StatusConflict, Body: http.NoBody}}
	case err != nil:
		h.fail(w, r, err)
		return nil
	}
	accounted := !to.dryRun && keepsAccount(w, r, state, info, to.source)
	var guarded *protected
	if accounted {
		if guarded = h.protection(state, info, plane); guarded != nil {
			if err := guarded.foresee(r); err != nil {
				h.fail(w, r, err)
				return nil
			}
		}
	}
	var space room
	defer space.end()
	for {
		answer, err := plane.Send(r, changes) //nolint:bodyclose // the exchange closes it
		if err != nil {
			h.noAnswer(w, r, to.source, err)
			return nil
		}
		x := &exchange{h: h, r: r, info: info, plane: plane, slot: slot, asYAML: asYAML, accounted: accounted, protected: guarded, answer: answer, of: to.of}
		if err := x.look(); err != nil {
			x.discard()
			h.noAnswer(w, r, to.source, fmt.Errorf("read its answer: %w", err))
			return nil
		}
		if !space.make(x, state) {
			return x
		}
		x.discard()
	}
}

// singleChanges is what the control plane gets in the place of what the client sent.
func (h *handler) singleChanges(w http.ResponseWriter, r *http.Request, state *feed.State, plane *upstream.ControlPlane, info *request.RequestInfo, slot int, to target) (upstream.Changes, bool, error) {
	accept, asYAML := singleAccept(r.Header.Get("Accept"))
	// Uncompressed, since it will be read.
	changes := upstream.Changes{Header: http.Header{"Accept-Encoding": nil}}
	if asYAML {
		changes.Header["Accept"] = []string{accept}
	}
	query, err := singleQuery(r.URL.RawQuery, slot)
	if err != nil {
		return changes, false, err
	}
	if to.dryRun {
		query = strings.TrimPrefix(query+"&dryRun="+metav1.DryRunAll, "&")
	}
	changes.Query = &query
	if r.Body == nil || r.Body == http.NoBody {
		return changes, asYAML, nil
	}
	body, err := keepBody(w, r) // it may have to be sent again, elsewhere
	if err != nil {
		return changes, false, err
	}
	media, err := mediaOf(r, info, body)
	if err != nil {
		return changes, false, err
	}
	placed := plane.Name() != route.RCP && state.Snapshot.Epoch > 1
	body, err = h.guard(r, plane, guarded{
		info: info, media: media, body: body,
		manager: r.URL.Query().Get("fieldManager"), moved: placed, sought: placed,
		translate: precondition(slot),
	})
	if err != nil {
		return changes, false, err
	}
	if body, err = to.into(media, body); err != nil {
		return changes, false, err
	}
	contentType := r.Header.Get("Content-Type")
	if err := h.refuseFarOwners(r, state, plane, info, contentType, body); err != nil {
		return changes, false, err
	}
	changes.Body, err = wire.RewriteVersions(contentType, body, precondition(slot))
	return changes, asYAML, err
}
