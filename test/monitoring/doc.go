// Package monitoring holds the tests of config/monitoring: the alerts and the dashboard.
//
// Their expressions are read by Prometheus' own parsers, and what they ask for has to be in docs/metrics.md, which a
// test in pkg/sandbox compares with what routers and backup daemons export. It is a module of its own so that the
// program does not depend on Prometheus.
package monitoring
