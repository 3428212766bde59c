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

// inFlight counts requests by control plane, so that one which hangs takes no room from the others.
type inFlight struct {
	limits Limits
	// bySource holds *sourceCount by the name of a control plane.
	bySource sync.Map
}

type sourceCount struct{ reading, mutating atomic.Int64 }

// slot is the room that a request takes. The zero slot takes none.
type slot struct{ count *atomic.Int64 }

func (s slot) leave() {
	if s.count != nil {
		s.count.Add(-1)
	}
}

// enter is false where the request is one too many.
func (f *inFlight) enter(source string, mutates bool) (slot, bool) {
	found, ok := f.bySource.Load(source)
	if !ok {
		found, _ = f.bySource.LoadOrStore(source, &sourceCount{})
	}
	of := found.(*sourceCount)
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
	var source string
	switch to.Action {
	case route.Forward:
		source = to.Source
	case route.Move:
		source = to.Sources[0]
	case route.Replicate:
		source = route.RCP
	case route.Merge, route.Find:
		source = metrics.Several
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
	taken, ok := h.inFlight.enter(source, mutates(r.Method))
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
