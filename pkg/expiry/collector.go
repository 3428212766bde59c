package expiry

import (
	"regexp"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is the name of the one that a [Collector] exports, for [Read].
const metric = "kubecell_certificate_expiration_timestamp_seconds"

// Collector tells Prometheus when certificates end, as they are when it asks.
type Collector struct {
	now  func() time.Time
	find func(now time.Time) []Certificate
	ends *prometheus.Desc
}

// NewCollector tells of what find finds, which has each credential and kind once.
func NewCollector(now func() time.Time, find func(now time.Time) []Certificate) Collector {
	return Collector{now: now, find: find, ends: prometheus.NewDesc(metric,
		"When a certificate that this daemon goes by ends: that by which a control plane knows it (client) and the CA of that control plane (ca), by the name of the cell or @rcp for the router control plane; of a router also its own (serving, @router) and the CA of its clients (ca, @clients).",
		[]string{"credential", "kind"}, nil)}
}

// Describe implements [prometheus.Collector].
func (c Collector) Describe(to chan<- *prometheus.Desc) { to <- c.ends }

// Collect implements [prometheus.Collector].
func (c Collector) Collect(to chan<- prometheus.Metric) {
	for _, found := range c.find(c.now()) {
		to <- prometheus.MustNewConstMetric(c.ends, prometheus.GaugeValue, float64(found.Ends.Unix()), found.Credential, string(found.Kind))
	}
}

// Read is what a page of metrics says of certificates.
func Read(page []byte) []Certificate {
	line := regexp.MustCompile(`(?m)^` + metric + `\{credential="([^"]*)",kind="(\w+)"\} (\S+)$`)
	var out []Certificate
	for _, found := range line.FindAllSubmatch(page, -1) {
		if seconds, err := strconv.ParseFloat(string(found[3]), 64); err == nil {
			out = append(out, Certificate{Credential: string(found[1]), Kind: Kind(found[2]), Ends: time.Unix(int64(seconds), 0)})
		}
	}
	return out
}
