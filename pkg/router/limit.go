package router

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/metrics"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// Limits bound how many requests for one control plane are in flight at a time, streams not counted. 0
// means no bound.
type Limits struct {
	// Reading requests, and Mutating ones.
	Reading, Mutating int
}

// DefaultLimits are those of an apiserver.
func DefaultLimits() Limits { return Limits{Reading: 400, Mutating: 200} }

// inFlight counts requests by pool: those for one control plane are one, so that one which hangs takes no room from the
// others, and what asks several is apart from these, of each kind.
type inFlight struct {
	limits Limits
	// byPool holds *poolCount by the name of a pool.
	byPool sync.Map
}

// Pools beside those of the control planes, whose names no cell can have.
const (
	poolMerge     = "/merge"
	poolFind      = "/find"
	poolReplicate = "/replicate"
	poolEarly     = "/early"
)

type poolCount struct{ reading, mutating atomic.Int64 }

// slot is the room that a request takes. The zero slot takes none.
type slot struct{ count *atomic.Int64 }

func (s slot) leave() {
	if s.count != nil {
		s.count.Add(-1)
	}
}

// enter is false where the request is one too many.
func (f *inFlight) enter(pool string, mutates bool) (slot, bool) {
	found, ok := f.byPool.Load(pool)
	if !ok {
		found, _ = f.byPool.LoadOrStore(pool, &poolCount{})
	}
	of := found.(*poolCount)
	count, limit := &of.reading, f.limits.Reading
	if mutates {
		count, limit = &of.mutating, f.limits.Mutating
	}
	if count.Add(1) > int64(limit) && limit > 0 {
		count.Add(-1)
		return slot{}, false
	}
	return slot{count}, true
}

// admit lets a request in, unless it is one too many for the control plane that is to serve it; then it is
// answered. It is also where the request's measurement and its event in the audit log learn who serves it.
// The slot has to be left when the request is served.
func (h *handler) admit(w http.ResponseWriter, r *http.Request, info *request.RequestInfo, to route.Route) (slot, bool) {
	var source, pool string
	switch to.Action {
	case route.Forward:
		source, pool = to.Source, to.Source
	case route.Move:
		source, pool = to.Sources[0], to.Sources[0]
	case route.Replicate:
		source, pool = route.RCP, poolReplicate // it waits for the cells
	case route.Merge:
		source, pool = metrics.Several, poolMerge
	case route.Find:
		source, pool = metrics.Several, poolFind // it waits for no cell that hangs where another has the object
	default:
		return slot{}, true
	}
	measured := metrics.From(r.Context())
	measured.Served(source)
	switch to.Action {
	case route.Merge, route.Move:
		h.annotate(r.Context(), to.Sources...)
	case route.Forward, route.Replicate:
		h.annotate(r.Context(), source)
	}
	if h.streams(r, info) {
		return slot{}, true
	}
	taken, ok := h.inFlight.enter(pool, mutates(r.Method))
	if ok || privileged(r) {
		return taken, true
	}
	measured.Refused(source)
	h.fail(w, r, apierrors.NewTooManyRequests("as many requests for "+spoken(source)+" are in flight as may be, please try again later", route.RetryAfterSeconds))
	return slot{}, false
}

func spoken(source string) string {
	switch source {
	case route.RCP:
		return "the router control plane"
	case metrics.Several:
		return "several cells"
	}
	return "cell " + source
}

func mutates(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return true
}

// privileged users may always mend what is wrong, as at an apiserver.
func privileged(r *http.Request) bool {
	who, ok := request.UserFrom(r.Context())
	return ok && slices.Contains(who.GetGroups(), user.SystemPrivilegedGroup)
}
