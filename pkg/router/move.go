package router

import (
	"errors"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/pause"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

const (
	// maxLooks is how often an object on the move is looked for before the client is asked to come again.
	maxLooks = 6
	// lookPause is the time between two looks, for what the next step of a move takes.
	lookPause = 15 * time.Millisecond
)

// move serves a request for one object whose key moves from one cell to another, or which was not where it was
// looked for. The labels on the objects tell where it is, not the router's memory: each look starts anew, with the
// newest configuration, and a look that meets a change in the middle is followed by another one.
func (h *handler) move(w http.ResponseWriter, r *http.Request, info *request.RequestInfo) {
	if connects(info) {
		h.looks(w, r, info, (*moving).connect)
		return
	}
	if _, err := keepBody(w, r); err != nil {
		h.fail(w, r, err)
		return
	}
	h.looks(w, r, info, func(m *moving) bool {
		if !mutates(r.Method) {
			return m.serve(false)
		}
		begun := h.begin(feed.Placed)
		answer := &lastStep{m.w, begun.End}
		defer answer.end()
		m.w, m.state = answer, begun.State
		return m.serve(true)
	})
}

// looks has a request served by one look after the other, until one is true.
func (h *handler) looks(w http.ResponseWriter, r *http.Request, info *request.RequestInfo, look func(*moving) bool) {
	for n := range maxLooks {
		if n > 0 && !lookLater(r) {
			return
		}
		if look(&moving{handler: h, w: w, r: r, state: h.state(), info: info, last: n == maxLooks-1}) {
			return
		}
	}
	h.fail(w, r, route.Moving(info))
}

// connect sends a connection to what is behind an object to the cell in which the object is. It is no write of the
// object: no step of a move waits for its end, and what passes is read by nobody. It is false where one has to look again.
func (m *moving) connect() bool {
	to, ok := m.decide()
	if !ok {
		return true
	}
	at, err := m.locate(to)
	switch {
	case errors.Is(err, errLookAgain):
		return false
	case err != nil:
		m.fail(m.w, m.r, err)
	case at.stale != nil && at.object == nil:
		if err := m.authorize(m.r); err != nil {
			m.fail(m.w, m.r, err)
			return true
		}
		return m.nothing(nil)
	default:
		// Where there is no such object, the cell says so.
		m.forward(m.w, m.r, m.state, at.source)
	}
	return true
}

// moving is one look at an object on the move.
type moving struct {
	*handler
	w     http.ResponseWriter
	r     *http.Request
	state *feed.State
	info  *request.RequestInfo
	// last is true where no other look follows.
	last bool
}

// serve is false where one has to look again.
func (m *moving) serve(writing bool) bool {
	to, ok := m.decide()
	if !ok || writing && !m.mayWrite(m.w, m.r, m.state, to) {
		return true
	}
	if writing || m.info.Subresource != "" && m.info.Subresource != "status" {
		// What a subresource answers, such as a Scale, does not say whether the object has moved.
		return m.write(to)
	}
	return m.read(to)
}

// decide returns where the object may be, in Sources. It is false where the client has its answer.
func (m *moving) decide() (to route.Route, ok bool) {
	to = route.Decide(m.info, m.state.Snapshot)
	switch to.Action {
	case route.Forward:
		to.Sources = []string{to.Source}
		return to, true
	case route.Move:
		return to, true
	case route.Refuse:
		m.fail(m.w, m.r, to.Refusal)
	default:
		m.fail(m.w, m.r, route.Moving(m.info))
	}
	return to, false
}

// read asks the cell that the key moves from, and the other one where the object is not there any more.
func (m *moving) read(to route.Route) bool {
	x, failure := m.try(to.Sources[0])
	if failure == nil && x.seen == shown {
		x.answerTo(m.w)
		return true
	}
	was := absent
	if x != nil {
		was = x.seen
		x.discard()
	}
	if len(to.Sources) == 1 {
		return m.nothing(failure)
	}
	y, newFailure := m.try(to.Sources[1])
	switch {
	case newFailure != nil:
		m.failure(newFailure)
		return true
	case y.seen == shown:
		// It counts, also where the other cell does not answer: a copy is shown only once the original is gone.
		y.answerTo(m.w)
		return true
	}
	defer y.discard()
	switch {
	case failure != nil:
		m.failure(failure)
		return true
	case was == left && y.seen == arriving:
		// Its arrival is about to be told.
		if m.last {
			y.answerTo(m.w)
		}
		return m.last
	case was == left && y.seen == left:
		return false
	}
	return m.nothing(nil)
}

// try sends the request to one cell. The failure is what the client would be told.
func (m *moving) try(source string) (*exchange, *heldAnswer) {
	held := newHeldAnswer()
	x := m.exchange(held, m.r, m.state, m.info, target{source: source})
	if x == nil {
		return nil, held
	}
	return x, nil
}

func (m *moving) failure(held *heldAnswer) { held.release(m.w) }

// nothing answers that there is no such object, unless the ring has changed meanwhile.
func (m *moving) nothing(failure *heldAnswer) bool {
	switch {
	case failure != nil:
		m.failure(failure)
	case m.handler.state().Snapshot.Epoch != m.state.Snapshot.Epoch && !m.last:
		return false
	default:
		m.fail(m.w, m.r, apierrors.NewNotFound(schema.GroupResource{Group: m.info.APIGroup, Resource: m.info.Resource}, m.info.Name))
	}
	return true
}

// write finds the object and sends the request there.
func (m *moving) write(to route.Route) bool {
	at, err := m.locate(to)
	switch {
	case errors.Is(err, errLookAgain):
		return false
	case err != nil:
		m.fail(m.w, m.r, err)
		return true
	}
	goal := target{source: at.source}
	if m.info.Subresource == "scale" || evicts(m.info) {
		goal.of = at.object
	}
	moves := len(to.Sources) > 1
	early := moves && m.state.Snapshot.Phase == v1alpha1.RingPreparing
	missing := at.object == nil
	if at.busy && mutates(m.r.Method) || missing && (early || at.stale != nil || !m.creates()) {
		// No cell judges the user, and what follows says whether the object exists.
		if err := m.authorize(m.r); err != nil {
			m.fail(m.w, m.r, err)
			return true
		}
	}
	if at.busy && mutates(m.r.Method) {
		m.fail(m.w, m.r, route.Moving(m.info))
		return true
	}
	switch {
	case missing && m.creates():
		if early {
			// Some router may still make it where the key moves from.
			m.fail(m.w, m.r, route.Moving(m.info))
			return true
		}
		if at.stale != nil && !m.makeRoom(at, &goal) {
			return true
		}
		if moves {
			goal.epoch = m.state.Snapshot.Epoch
		}
	case missing:
		return m.nothing(nil)
	case !moves || !early && at.source != to.Sources[0]:
	case m.info.Verb == "create" && m.info.Subresource == "":
		// It exists, and must not be made here should it be deleted meanwhile: others make it in the other cell. Early that
		// may be either of them, since some may still know the way back.
		goal.dryRun = true
	case m.creates():
		goal.uid = at.object.UID
	}
	x := m.exchange(m.w, m.r, m.state, m.info, goal)
	switch {
	case x == nil:
		return true
	case goal.dryRun && x.answer.StatusCode < http.StatusMultipleChoices:
		x.discard()
		return false
	case x.seen == shown || x.seen == absent || x.seen == taken && !missing:
		x.answerTo(m.w)
		return true
	}
	x.discard()
	return false
}

// authorize asks the RCP, whose RBAC the cells have, whether the user may do this.
func (h *handler) authorize(r *http.Request) error {
	attributes, err := filters.GetAuthorizerAttributes(r.Context())
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	decision, reason, err := h.authz.Authorize(r.Context(), attributes)
	switch {
	case err != nil:
		return noPlane(route.RCP, err)
	case decision != authorizer.DecisionAllow:
		return responsewriters.ForbiddenStatusError(attributes, reason)
	}
	return nil
}

// denied says whether the user may certainly not do what he asks for, so that the router does nothing for it with rights of its
// own: who serves the request refuses it. While the RCP cannot be asked nobody is.
func (h *handler) denied(r *http.Request) bool { return apierrors.IsForbidden(h.authorize(r)) }

// creates says whether the request may make the object.
func (m *moving) creates() bool {
	if m.info.Subresource != "" {
		return false
	}
	switch m.info.Verb {
	case "create", "update":
		return true
	case "patch":
		media, _ := wire.MediaType(m.r.Header.Get("Content-Type"))
		return media == string(types.ApplyYAMLPatchType)
	}
	return false
}

// lookLater waits until one may look again. It is false where the client went away.
func lookLater(r *http.Request) bool { return pause.For(r.Context(), lookPause) == nil }
