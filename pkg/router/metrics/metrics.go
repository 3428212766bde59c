// Package metrics measures what a router does, for Prometheus.
//
// It owns a registry of its own and the names and labels in docs/metrics.md. A request costs it about a
// microsecond: what labels lead to is looked up once and kept.
//
// Labels are bounded. What clients can invent (resources, verbs) counts as "other" until some control plane
// has answered such a request with success; the rest are names of cells, which administrators give.
//
// Not promised: that the numbers of several metrics belong to the same instant.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
)

// Config is where the numbers come from that nobody counts.
type Config struct {
	// Planes are the control planes that the router knows now.
	Planes func() []Plane
	// Ledger is how many writes are remembered of each cell.
	Ledger func() []ledger.Count
	// Epoch of the configuration that requests are judged by.
	Epoch func() int64
	// Resources are known to exist from the start.
	Resources []schema.GroupResource
	Now       func() time.Time
}

// Plane is the state of one control plane.
type Plane struct {
	Name string
	// Up is false while requests for it are refused at once.
	Up bool
	// Probed is when a probe was last answered; zero where none was.
	Probed time.Time
}

// Metrics are the router's counters. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	now      func() time.Time

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	own      *prometheus.HistogramVec
	upstream *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	refused  *prometheus.CounterVec
	watches  *prometheus.GaugeVec
	events   *prometheus.CounterVec

	known     known
	answers   children[answer, prometheus.Counter]
	durations children[cellVerb, duration]
	upstreams children[string, prometheus.Observer]
	watching  children[schema.GroupResource, watching]
	kinds     map[kind]prometheus.Gauge
}

// answer is what a request is counted by.
type answer struct {
	cell, verb, group, resource, subresource string
	code                                     int
}

type cellVerb struct{ cell, verb string }

type duration struct{ all, own prometheus.Observer }

type watching struct {
	open prometheus.Gauge
	sent prometheus.Counter
}

// kind of a request, as to how long it may take.
type kind string

const (
	readOnly    kind = "readOnly"
	mutating    kind = "mutating"
	longRunning kind = "longRunning"
)

// New returns counters that all stand at nothing.
func New(config Config) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), now: config.Now}
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kubecell_router_requests_total",
		Help: "Requests, when they ended, watches and other streams included. The cell is the one that served, @rcp for the router control plane, several for one answer made of many, empty where the router itself answered.",
	}, []string{"cell", "verb", "group", "resource", "subresource", "code"})
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "kubecell_router_request_duration_seconds",
		Help:    "Time from the arrival of a request to the end of its answer, without watches and other streams.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"cell", "verb"})
	m.own = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "kubecell_router_own_duration_seconds",
		Help:    "The part of that time in which no control plane was waited for, of requests that ask one control plane once: the router's own share, the passing on of both bodies included.",
		Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .5, 1},
	}, []string{"cell", "verb"})
	m.upstream = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "kubecell_router_upstream_duration_seconds",
		Help:    "Time from sending a request to a control plane to the beginning of its answer, or to giving up.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"cell"})
	m.inFlight = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "kubecell_router_requests_in_flight",
		Help: "Requests being served: readOnly, mutating, or longRunning for watches and other streams.",
	}, []string{"kind"})
	m.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kubecell_router_requests_refused_total",
		Help: "Requests answered with 429 because as many for the same cell were in flight as may be.",
	}, []string{"cell", "kind"})
	m.watches = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "kubecell_router_watches",
		Help: "Watches of clients that are open.",
	}, []string{"group", "resource"})
	m.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kubecell_router_watch_events_total",
		Help: "Events sent to clients' watches, bookmarks included.",
	}, []string{"group", "resource"})
	m.registry.MustRegister(m.requests, m.duration, m.own, m.upstream, m.inFlight, m.refused, m.watches, m.events,
		newPlanes(config), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.resolve(config.Resources)
	return m
}

// resolve says how labels lead to counters.
func (m *Metrics) resolve(resources []schema.GroupResource) {
	for _, resource := range resources {
		m.known.add(triple{resource.Group, resource.Resource, ""})
	}
	m.kinds = map[kind]prometheus.Gauge{}
	for _, k := range []kind{readOnly, mutating, longRunning} {
		m.kinds[k] = m.inFlight.WithLabelValues(string(k))
	}
	m.answers.make = func(a answer) prometheus.Counter {
		return m.requests.WithLabelValues(a.cell, a.verb, a.group, a.resource, a.subresource, codeLabel(a.code))
	}
	m.durations.make = func(c cellVerb) duration {
		return duration{all: m.duration.WithLabelValues(c.cell, c.verb), own: m.own.WithLabelValues(c.cell, c.verb)}
	}
	m.upstreams.make = func(cell string) prometheus.Observer { return m.upstream.WithLabelValues(cell) }
	m.watching.make = func(r schema.GroupResource) watching {
		return watching{open: m.watches.WithLabelValues(r.Group, r.Resource), sent: m.events.WithLabelValues(r.Group, r.Resource)}
	}
}

// Register adds numbers that somebody else has.
func (m *Metrics) Register(others prometheus.Collector) { m.registry.MustRegister(others) }

// Handler serves the numbers to whoever asks.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
