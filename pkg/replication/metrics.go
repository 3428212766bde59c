package replication

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the counters of a [Controller].
type Metrics struct {
	repairs  *prometheus.CounterVec
	failures *prometheus.CounterVec
	pending  *prometheus.GaugeVec
	waiting  prometheus.Gauge
}

// NewMetrics registers the counters; it panics where they are registered already.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubecell_replication_repairs_total",
			Help: "Copies of replicated objects that were not as their source, by what was done: created, updated or deleted.",
		}, []string{"cell", "resource", "action"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubecell_replication_failures_total",
			Help: "Attempts to repair a copy that failed and will be made again.",
		}, []string{"cell"}),
		pending: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubecell_replication_pending",
			Help: "Copies that are to be looked at.",
		}, []string{"cell"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kubecell_replication_deletions_waiting",
			Help: "Namespaces and definitions that are being deleted and wait for cells.",
		}),
	}
	registry.MustRegister(m.repairs, m.failures, m.pending, m.waiting)
	return m
}

// forget drops the series of a cell that is gone.
func (m *Metrics) forget(cell string) {
	m.repairs.DeletePartialMatch(prometheus.Labels{"cell": cell})
	m.failures.DeleteLabelValues(cell)
	m.pending.DeleteLabelValues(cell)
}
