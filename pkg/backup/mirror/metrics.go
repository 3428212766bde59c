package mirror

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the counters of a [Mirror].
type Metrics struct {
	written, deleted, remade, failures, rehearsals *prometheus.CounterVec
	lag                                            *prometheus.HistogramVec
	objects, envelopes, pending, oldest            *prometheus.GaugeVec
	unprotected, unproven, rate, pairs, quantiles  *prometheus.GaugeVec
	pairPending, pairUnprotected                   *prometheus.GaugeVec
	// homes are the cells by source that pairPending and pairUnprotected have. One mirror at a time reports.
	homes map[string]map[string]bool
}

// NewMetrics registers the counters; it panics where they are registered already.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		registry.MustRegister(g)
		return g
	}
	m := &Metrics{
		homes:      map[string]map[string]bool{},
		written:    counter("kubecell_backup_envelopes_written_total", "Envelopes that were made or replaced.", "source", "backup"),
		deleted:    counter("kubecell_backup_envelopes_deleted_total", "Envelopes that were deleted: their objects are gone, or have others.", "source", "backup"),
		remade:     counter("kubecell_backup_envelopes_remade_total", "Envelopes that somebody had deleted or changed, and that were made again.", "backup", "reason"),
		failures:   counter("kubecell_backup_failures_total", "Attempts to bring an envelope up to date that failed and will be made again.", "backup"),
		rehearsals: counter("kubecell_backup_rehearsals_total", "Promotions that were rehearsed by a dry run in the backup cell.", "backup", "result"),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kubecell_backup_lag_seconds", Help: "Time from the event of a change to the envelope that has it.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"source", "backup"}),
		objects:     gauge("kubecell_backup_objects", "Objects that have to have an envelope.", "source"),
		envelopes:   gauge("kubecell_backup_envelopes", "Envelopes in a cell.", "backup"),
		pending:     gauge("kubecell_backup_pending", "Objects with a change that is in no envelope yet.", "source"),
		oldest:      gauge("kubecell_backup_oldest_seconds", "For how long the oldest change has been known that is in no envelope yet; 0 where there is none.", "source"),
		unprotected: gauge("kubecell_backup_unprotected", "Objects without an envelope that could be promoted.", "source"),
		unproven:    gauge("kubecell_backup_unproven", "Envelopes of which no rehearsal has said yet whether they could be promoted.", "source"),
		pairs:       gauge("kubecell_backup_pair_envelopes", "Envelopes of one cell in another.", "source", "backup"),
		pairPending: gauge("kubecell_backup_pair_pending", "Objects of one cell with a change that is in no envelope yet, by the cell that is to have it; an empty one where that is not known.", "source", "backup"),
		pairUnprotected: gauge("kubecell_backup_pair_unprotected", "Objects of one cell without an envelope that could be promoted, by the cell that would have it; an empty one where that is not known.",
			"source", "backup"),
		quantiles: gauge("kubecell_backup_lag_quantile_seconds", "Quantiles of the newest thousand lags: the time from the event of a change to its envelope.",
			"source", "backup", "quantile"),
		rate: gauge("kubecell_backup_rate", "Requests a second that the daemon allows itself in a cell.", "backup"),
	}
	registry.MustRegister(m.lag)
	return m
}

// standing is how the backup of a cell stands.
func (m *Metrics) standing(r *Report) {
	m.objects.WithLabelValues(r.Cell).Set(float64(r.Objects))
	m.pending.WithLabelValues(r.Cell).Set(float64(r.Pending))
	m.oldest.WithLabelValues(r.Cell).Set(r.Oldest.Seconds())
	m.unproven.WithLabelValues(r.Cell).Set(float64(r.Unproven))
	m.unprotected.WithLabelValues(r.Cell).Set(float64(int64(len(r.Unprotected)) + r.Unnamed))
}

// between is how it stands between the cell and those that hold its envelopes, and nothing of those that did so before.
func (m *Metrics) between(r *Report) {
	homes := map[string]bool{}
	for _, p := range r.Pairs {
		m.pairs.WithLabelValues(r.Cell, p.Backup).Set(float64(p.Envelopes))
		m.quantiles.WithLabelValues(r.Cell, p.Backup, "0.5").Set(p.P50.Seconds())
		m.quantiles.WithLabelValues(r.Cell, p.Backup, "0.99").Set(p.P99.Seconds())
		homes[p.Backup] = true
	}
	for _, of := range []count{r.pending, r.unprotected} {
		for home := range of {
			homes[home] = true
		}
	}
	for home := range homes {
		m.pairPending.WithLabelValues(r.Cell, home).Set(float64(r.pending[home]))
		m.pairUnprotected.WithLabelValues(r.Cell, home).Set(float64(r.unprotected[home]))
	}
	for home := range m.homes[r.Cell] {
		if !homes[home] {
			m.pairPending.DeleteLabelValues(r.Cell, home)
			m.pairUnprotected.DeleteLabelValues(r.Cell, home)
		}
	}
	m.homes[r.Cell] = homes
}

// left drops what is said of a cell whose objects are nobody's business any more.
func (m *Metrics) left(cell string) {
	for _, vec := range []*prometheus.GaugeVec{
		m.objects, m.pending, m.oldest, m.unprotected, m.unproven, m.pairs, m.pairPending, m.pairUnprotected, m.quantiles,
	} {
		vec.DeletePartialMatch(prometheus.Labels{"source": cell})
	}
	delete(m.homes, cell)
}

// forget drops the series of a cell that is gone.
func (m *Metrics) forget(cell string) {
	for _, labels := range []prometheus.Labels{{"source": cell}, {"backup": cell}} {
		for _, vec := range []interface {
			DeletePartialMatch(prometheus.Labels) int
		}{
			m.written, m.deleted, m.remade, m.failures, m.rehearsals, m.lag, m.objects, m.envelopes, m.pending, m.oldest,
			m.unprotected, m.unproven, m.rate, m.pairs, m.pairPending, m.pairUnprotected, m.quantiles,
		} {
			vec.DeletePartialMatch(labels)
		}
	}
}
