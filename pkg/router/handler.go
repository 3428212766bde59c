package router

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericfilters "k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/endpoints/request"
	serverfilters "k8s.io/apiserver/pkg/server/filters"

	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/router/authn"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
	"github.com/kubecell/kubectl-cell/pkg/router/metrics"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/stream"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
)

// handler carries out what package route decides. Its fields are set once and never change.
type handler struct {
	// state returns the newest configuration; each request reads it once and keeps to it.
	state func() *feed.State
	// begin returns it for a write, which ends it when it is finished.
	begin func(feed.Scope) feed.Write
	// may says whether a write may go by the configuration that it holds.
	may    func(*feed.State) bool
	codecs runtime.NegotiatedSerializer
	// buffers are what answers are rewritten in, of type *[]byte.
	buffers sync.Pool
	// journals order the watches of this router.
	journals stream.Journals
	// owners remembers where owners of other objects are.
	owners owners
	// aloneSince says since when this has certainly been the federation's only router.
	aloneSince func() (time.Time, bool)
	// slowClient is how long one write to a watching client may take, and half of how long one may take to
	// read a whole answer.
	slowClient time.Duration
	// movingPatience is how long the deletion of an object of a collection waits for its move to end.
	movingPatience time.Duration
	// stopping is done when the router is asked to stop, and leaving a moment later: watches say goodbye then.
	stopping, leaving context.Context
	// streams says which requests may last for ever.
	streams  request.LongRunningRequestCheck
	inFlight inFlight
	// quotas has requests for room in the same quota wait for one another.
	quotas quotaLocks
	// promotions brings back single objects of a cell that was failed over.
	promotions promotions
	// ledger remembers the writes that were acknowledged.
	ledger *ledger.Ledger
	// sealer makes the envelopes of what is protected synchronously.
	sealer  *envelope.Sealer
	metrics *metrics.Metrics
	// authz judges users where no control plane has.
	authz authorizer.Authorizer
	// audit is nil where nothing is written down.
	audit *auditLog
	// tracer is nil where no spans are wanted.
	tracer trace.TracerProvider
}

// buildChain wraps h in the generic server's filters. The order matters; from the outside in:
//
//  1. panic recovery, so that a bug costs one request and not the router;
//  2. request received time, then request info, which all others read, with /cells/NAME taken off the path first,
//     so that a raw request is understood like any other;
//  3. health, before authentication: a probe has no identity;
//  4. measuring, before authentication, so that refusals are counted;
//  5. authentication: who the client is. Its credentials end here;
//  6. audit, where it is asked for, of the user who was authenticated;
//  7. a span, where that is asked for: part of the client's trace if a privileged user asks. Of others no control plane is
//     told of their traces: it goes by the router's identity;
//  8. impersonation: who the client wants to be, where the RCP allows it;
//  9. the router's own metrics, for those whom the RCP allows to read them;
//  10. the router itself.
//
// Authorisation is not here: the control plane that serves the request does it, with its own RBAC,
// for the user that it is told.
func (h *handler) buildChain(user authenticator.Request, authz authorizer.Authorizer, health http.Handler) http.Handler {
	resolver := requestInfoResolver()
	var chain http.Handler = http.HandlerFunc(h.serve)
	chain = h.withMetrics(chain, authz)
	chain = h.withImpersonation(chain, authz)
	if h.tracer != nil {
		chain = genericfilters.WithTracing(chain, h.tracer)
	} else {
		chain = withoutTrace(chain)
	}
	chain = h.withEvents(chain)
	chain = genericfilters.WithAuthentication(chain, user, h.withRefusals(h.unauthenticated()), nil, nil)
	chain = authn.WithFailure(chain)
	chain = h.metrics.Measure(chain, h.streams)
	chain = withHealth(chain, health)
	chain = genericfilters.WithRequestInfo(chain, resolver)
	chain = withRawCell(chain)
	chain = genericfilters.WithCacheControl(chain)
	if h.audit != nil {
		chain = genericfilters.WithRequestReceivedTimestamp(h.audit.withID(chain))
	}
	chain = genericfilters.WithWarningRecorder(chain)
	chain = serverfilters.WithPanicRecovery(chain, resolver)
	return withStack(chain)
}

// withoutTrace forgets which trace a request is a part of, unless a privileged user says so.
func withoutTrace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !privileged(r) {
			r.Header.Del("Traceparent")
			r.Header.Del("Tracestate")
		}
		next.ServeHTTP(w, r)
	})
}

// withStack makes room for what the filters put on the stack. Each request of HTTP/2 has a goroutine of its
// own, whose stack would be copied three times on its way to this size.
func withStack(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		growStack(r.ProtoMajor)
		next.ServeHTTP(w, r)
	})
}

//go:noinline
func growStack(i int) byte {
	var room [12 << 10]byte
	// A use of it that the compiler cannot see through.
	return room[i&1023]
}

// serve sends one authenticated request where it belongs.
func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	info, ok := request.RequestInfoFrom(r.Context())
	if !ok {
		responsewriters.InternalError(w, r, errNoRequestInfo)
		return
	}
	if !connects(info) { // what is behind an object may speak it
		var err error
		if r, err = withoutCBOR(r); err != nil {
			h.fail(w, r, err)
			return
		}
	}
	info = route.Subject(info)
	if !h.streams(r, info) {
		w = &timedAnswer{ResponseWriter: w, allowed: 2 * h.slowClient}
	}
	state := h.state()
	if cell, raw := rawCellFrom(r.Context()); raw {
		h.serveRaw(w, r, state, cell)
		return
	}
	h.act(w, r, state, info, route.Decide(info, state.Snapshot))
}

// asGet makes a GET of a HEAD, since the answer has to be read; the server leaves its body out. An apiserver knows the method
// for custom resources alone: it is false where the one that has the object, or one of them, has refused it.
func (h *handler) asGet(w http.ResponseWriter, r *http.Request, state *feed.State, to route.Route) (*http.Request, bool) {
	source := cmp.Or(slices.Concat([]string{to.Source}, to.Sources, []string{route.RCP})...)
	plane, err := state.ControlPlane(source)
	if err != nil {
		h.fail(w, r, noPlane(source, err))
		return nil, false
	}
	answer, err := plane.Send(r, upstream.Changes{})
	if err != nil {
		h.noAnswer(w, r, source, err)
		return nil, false
	}
	if answer.StatusCode == http.StatusMethodNotAllowed {
		plane.Pass(w, answer)
		return nil, false
	}
	_ = answer.Body.Close()
	get := r.WithContext(r.Context())
	get.Method = http.MethodGet
	return get, true
}

// act carries out one decision. Place ends in another one.
func (h *handler) act(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, to route.Route) {
	taken, ok := h.admit(w, r, info, to)
	if !ok {
		return
	}
	defer taken.leave()
	if r.Method == http.MethodHead && info.IsResourceRequest && !connects(info) && to.Action != route.Refuse {
		if r, ok = h.asGet(w, r, state, to); !ok {
			return
		}
	}
	if isWrite(to, info) && mutates(r.Method) && !h.streams(r, info) {
		// A client that sends slowly must not hold up a rebalance: what it sends is read first.
		if _, err := keepBody(w, r); err != nil {
			h.fail(w, r, err)
			return
		}
		var begun feed.Write
		begun, to = h.beginAt(r, state, info, to)
		answer := &lastStep{w, begun.End}
		defer answer.end()
		w, state = answer, begun.State
		if !h.mayWrite(w, r, state, to) {
			return
		}
	}
	if !h.promoted(w, r, state, info, to) {
		return
	}
	switch to.Action {
	case route.Forward:
		h.withTotals(r, state, info)
		h.serveFrom(w, r, state, info, to.Source)
	case route.Place:
		h.place(w, r, func(w http.ResponseWriter, r *http.Request, name string, drawn bool) {
			named := *info
			named.Name = name
			to, owned := h.placed(r, state, &named)
			if to.Action == route.Place {
				// Neither name nor generateName: any control plane refuses it in the API's own words.
				to = route.Route{Action: route.Forward, Source: route.RCP}
			}
			if !h.promoted(w, r, state, &named, to) {
				return // it may be an envelope in another cell
			}
			if !owned && !drawn && h.takenElsewhere(r, state, &named, to) {
				h.refuse(w, r, apierrors.NewAlreadyExists(schema.GroupResource{Group: named.APIGroup, Resource: named.Resource}, named.Name))
				return
			}
			h.act(w, r, state, &named, to)
		})
	case route.Move:
		h.move(w, r, info)
	case route.Find:
		h.find(w, r, state, info, to.Sources)
	case route.Merge:
		h.collection(w, r, state, info, to.Sources)
	case route.Replicate:
		r, err := h.unforgedAtRCP(w, r, state, info)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		h.replicate(w, r, state, info)
	default:
		h.fail(w, r, to.Refusal)
	}
}

// beginAt begins a write that goes to where state has it, or to where the newest configuration does.
func (h *handler) beginAt(r *http.Request, state *feed.State, info *request.RequestInfo, to route.Route) (feed.Write, route.Route) {
	for {
		scope := scopeOf(to)
		begun := h.begin(scope)
		if begun.Snapshot.Epoch == state.Snapshot.Epoch {
			return begun, to
		}
		to, _ = h.placed(r, begun.State, info)
		if scopeOf(to) == scope {
			return begun, to
		}
		// The new epoch has its kind elsewhere: others wait for it.
		begun.End()
		state = begun.State
	}
}

// isWrite says whether a change is one write, that ends as a whole before a step of a rebalance. What is placed comes here
// again; what moves, and each object of a collection, is a write of its own.
func isWrite(to route.Route, info *request.RequestInfo) bool {
	switch to.Action {
	case route.Place, route.Move, route.Refuse:
		return false
	case route.Merge:
		return info.Verb != "deletecollection"
	}
	return true
}

// mayWrite is false where a write was refused because it would go by the ring, which may be an old one. The RCP, and
// what is replicated from it, is the same in all epochs.
func (h *handler) mayWrite(w http.ResponseWriter, r *http.Request, state *feed.State, to route.Route) bool {
	if scopeOf(to) == feed.Shared || h.may(state) {
		return true
	}
	h.fail(w, r, route.Unregistered())
	return false
}

func scopeOf(to route.Route) feed.Scope {
	if to.Action == route.Replicate || to.Action == route.Forward && to.Source == route.RCP {
		return feed.Shared
	}
	return feed.Placed
}

// serveFrom sends a request to the one control plane that it concerns.
func (h *handler) serveFrom(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, source string) {
	switch {
	case !versioned(info, state.Snapshot):
		h.forward(w, r, state, source)
	case isCollection(info):
		h.collection(w, r, state, info, []string{source})
	default:
		h.single(w, r, state, info, source)
	}
}

// collection serves what concerns many objects: it asks every source, which may be one alone.
func (h *handler) collection(w http.ResponseWriter, r *http.Request, state *feed.State, info *request.RequestInfo, sources []string) {
	switch info.Verb {
	case "list":
		h.list(w, r, state, info, sources)
	case "watch":
		h.watch(w, r, state, info, sources)
	default:
		h.deleteCollection(w, r, state, info, sources)
	}
}

func isCollection(info *request.RequestInfo) bool {
	return info.Verb == "list" || info.Verb == "watch" || info.Verb == "deletecollection"
}

// placed decides where the object of a create goes, now that its name is known: to its owner, if it is owned.
func (h *handler) placed(r *http.Request, state *feed.State, named *request.RequestInfo) (to route.Route, owned bool) {
	to = route.Decide(named, state.Snapshot)
	if named.Verb == "create" && to.Action == route.Forward && route.HasNoPlace(named, state.Snapshot) {
		if home := h.withOwner(r, state, named, state.Snapshot.Table.Cells()); home != "" {
			to.Source, owned = home, true
		}
	}
	return to, owned
}

// describing returns the control plane that tells what the API is: the RCP, or while that is down a cell that is not.
// Cells have all definitions but the federation's own.
func describing(r *http.Request, state *feed.State, info *request.RequestInfo) string {
	rcp, err := state.ControlPlane(route.RCP)
	if info.IsResourceRequest || r.Method != http.MethodGet || err != nil || rcp.Down() == nil {
		return route.RCP
	}
	for _, name := range state.Snapshot.Table.Cells() {
		if cell, err := state.ControlPlane(name); err == nil && cell.Down() == nil {
			return name
		}
	}
	return route.RCP
}

func (h *handler) forward(w http.ResponseWriter, r *http.Request, state *feed.State, source string) {
	if info, ok := request.RequestInfoFrom(r.Context()); ok && source == route.RCP {
		source = describing(r, state, info)
	}
	plane, err := state.ControlPlane(source)
	if err != nil {
		h.fail(w, r, route.Unavailable(source, err.Error()))
		return
	}
	h.pass(w, r, plane)
}

// fail answers with a Status, in the encoding that the client asked for.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	gv := schema.GroupVersion{Version: "v1"}
	if info, ok := request.RequestInfoFrom(r.Context()); ok && strings.HasPrefix(info.Path, "/api") {
		gv = schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion}
	}
	responsewriters.ErrorNegotiated(err, h.codecs, gv, w, r)
}
