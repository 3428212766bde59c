package metrics

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/endpoints/responsewriter"
)

// Several is the cell of an answer that is made of those of several cells.
const Several = "several"

// Request measures one request. A nil Request measures nothing.
type Request struct {
	http.ResponseWriter
	metrics *Metrics
	info    *request.RequestInfo
	began   time.Time
	// long is true for watches and other streams.
	long bool
	// code is written once, by the request's own goroutine, as is cell.
	code int
	cell string
	// events counts what is sent to a watch; nil for anything else.
	events prometheus.Counter
	// waited is the time that control planes took, in nanoseconds, and trips how often one was asked.
	waited atomic.Int64
	trips  atomic.Int32
}

type requestKey struct{}

// From returns the measurement of the request with this context, or nil.
func From(ctx context.Context) *Request {
	q, _ := ctx.Value(requestKey{}).(*Request)
	return q
}

// Measure measures what next serves, which must be inside the filter that makes the RequestInfo.
func (m *Metrics) Measure(next http.Handler, streams request.LongRunningRequestCheck) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, ok := request.RequestInfoFrom(r.Context())
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		q := &Request{ResponseWriter: w, metrics: m, info: info, began: m.now(), long: streams(r, info)}
		inFlight := m.kinds[q.kind()]
		inFlight.Inc()
		ctx := context.WithValue(r.Context(), requestKey{}, q)
		whole := false
		defer func() {
			inFlight.Dec()
			if q.code == 0 && whole && ctx.Err() == nil {
				q.code = http.StatusOK // as net/http answers a handler that wrote nothing
			}
			if !whole || q.code == 0 {
				q.code = aborted
			}
			q.done()
		}()
		next.ServeHTTP(responsewriter.WrapForHTTP1Or2(q), r.WithContext(ctx))
		whole = true
	})
}

func (q *Request) kind() kind {
	if q.long {
		return longRunning
	}
	switch q.info.Verb {
	case "get", "list", "watch", "head", "options":
		return readOnly
	}
	return mutating
}

// Served says which control plane serves the request.
func (q *Request) Served(cell string) {
	if q != nil {
		q.cell = cell
	}
}

// Waited says how long a control plane took to begin its answer. It may be called by any goroutine.
func (q *Request) Waited(cell string, took time.Duration) {
	if q == nil {
		return
	}
	q.waited.Add(int64(took))
	q.trips.Add(1)
	q.metrics.upstreams.of(cell).Observe(took.Seconds())
}

// Refused says that the request is one too many for the cell.
func (q *Request) Refused(cell string) {
	if q != nil {
		q.metrics.refused.WithLabelValues(cell, string(q.kind())).Inc()
	}
}

// Watching says that a watch begins; the function that it returns, that it has ended.
func (q *Request) Watching() (ended func()) {
	if q == nil {
		return func() {}
	}
	// Some control plane serves the watch: the resource exists.
	found := q.metrics.known.has(triple{q.info.APIGroup, q.info.Resource, ""}) ||
		q.metrics.known.add(triple{q.info.APIGroup, q.info.Resource, ""})
	resource := schema.GroupResource{Group: other, Resource: other}
	if found {
		resource = schema.GroupResource{Group: q.info.APIGroup, Resource: q.info.Resource}
	}
	w := q.metrics.watching.of(resource)
	w.open.Inc()
	q.events = w.sent
	return w.open.Dec
}

// Event says that an event was sent.
func (q *Request) Event() {
	if q != nil && q.events != nil {
		q.events.Inc()
	}
}

// done counts the request.
func (q *Request) done() {
	m := q.metrics
	a := answer{cell: q.cell, verb: verbLabel(q.info.Verb), code: q.code}
	if q.info.IsResourceRequest {
		t := triple{q.info.APIGroup, q.info.Resource, q.info.Subresource}
		exists := m.known.has(t)
		if !exists && (q.code >= 200 && q.code < 300 || q.code == http.StatusSwitchingProtocols) {
			exists = m.known.add(t)
		}
		if !exists {
			t = triple{other, other, ""}
		}
		a.group, a.resource, a.subresource = t.group, t.resource, t.subresource
	}
	m.answers.of(a).Inc()
	if q.long {
		return
	}
	took := m.now().Sub(q.began)
	d := m.durations.of(cellVerb{a.cell, a.verb})
	d.all.Observe(took.Seconds())
	if q.trips.Load() == 1 {
		d.own.Observe((took - time.Duration(q.waited.Load())).Seconds())
	}
}

// Unwrap is how [http.ResponseController] finds what it needs.
func (q *Request) Unwrap() http.ResponseWriter { return q.ResponseWriter }

// WriteHeader notes the code of the answer.
func (q *Request) WriteHeader(code int) {
	if code >= http.StatusOK && q.code == 0 {
		q.code = code
	}
	q.ResponseWriter.WriteHeader(code)
}

// Write notes that the answer is a success unless it said otherwise.
func (q *Request) Write(data []byte) (int, error) {
	if q.code == 0 {
		q.code = http.StatusOK
	}
	return q.ResponseWriter.Write(data)
}

// Hijack notes that the connection now belongs to the client and something behind the cell.
func (q *Request) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if q.code == 0 {
		q.code = http.StatusSwitchingProtocols
	}
	return http.NewResponseController(q.ResponseWriter).Hijack()
}
