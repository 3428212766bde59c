package metrics

import "github.com/prometheus/client_golang/prometheus"

// planes turns the state of control planes into numbers when it is asked.
type planes struct {
	config    Config
	up, probe *prometheus.Desc
	epoch     *prometheus.Desc
	// remembered and dropped are about the ledger.
	remembered, dropped *prometheus.Desc
}

func newPlanes(config Config) planes {
	return planes{
		config: config,
		up: prometheus.NewDesc("kubecell_router_cell_up",
			"1 while requests are sent to the cell, 0 while they are refused at once because no probe is answered. Absent for a cell that was failed over. @rcp is the router control plane.", []string{"cell"}, nil),
		probe: prometheus.NewDesc("kubecell_router_cell_probe_age_seconds",
			"Time since a probe of the cell was last answered. Missing where none was.", []string{"cell"}, nil),
		epoch: prometheus.NewDesc("kubecell_router_ring_epoch",
			"Epoch of the ring that requests are judged by.", nil, nil),
		remembered: prometheus.NewDesc("kubecell_router_ledger_writes",
			"Writes to the cell that were acknowledged and that no backup is known to have, the newest of each object.", []string{"cell"}, nil),
		dropped: prometheus.NewDesc("kubecell_router_ledger_dropped_total",
			"Such writes that were given up for want of room. What would be lost with the cell is not known exactly any more.", []string{"cell"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (p planes) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{p.up, p.probe, p.epoch, p.remembered, p.dropped} {
		to <- desc
	}
}

// Collect implements [prometheus.Collector].
func (p planes) Collect(to chan<- prometheus.Metric) {
	to <- prometheus.MustNewConstMetric(p.epoch, prometheus.GaugeValue, float64(p.config.Epoch()))
	for _, count := range p.config.Ledger() {
		to <- prometheus.MustNewConstMetric(p.remembered, prometheus.GaugeValue, float64(count.Writes), count.Cell)
		to <- prometheus.MustNewConstMetric(p.dropped, prometheus.CounterValue, float64(count.Dropped), count.Cell)
	}
	for _, plane := range p.config.Planes() {
		up := 0.0
		if plane.Up {
			up = 1
		}
		to <- prometheus.MustNewConstMetric(p.up, prometheus.GaugeValue, up, plane.Name)
		if !plane.Probed.IsZero() {
			age := p.config.Now().Sub(plane.Probed).Seconds()
			to <- prometheus.MustNewConstMetric(p.probe, prometheus.GaugeValue, age, plane.Name)
		}
	}
}
