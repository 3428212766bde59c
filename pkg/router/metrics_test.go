package router_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

func TestMetricsOfARouter(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "metrics")
	names := b.fill(t, ns, 1)
	cell, _ := b.cellOf(t, ns, names[0])
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	if _, err := maps.Get(t.Context(), names[0], getOptions()); err != nil {
		t.Fatal(err)
	}
	if _, err := maps.List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	watch, err := maps.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	<-watch.ResultChan()
	get(t, b.router, "/apis/made.up/v1/things", "")
	get(t, anonymous(b.router), "/api/v1/nodes", "")

	code, body := get(t, b.router, "/metrics", "")
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", code, body)
	}
	for _, want := range []string{
		`kubecell_router_requests_total{cell="` + cell + `",code="200",group="",resource="configmaps",subresource="",verb="get"} 1`,
		`kubecell_router_requests_total{cell="several",code="200",group="",resource="configmaps",subresource="",verb="list"} 1`,
		`kubecell_router_requests_total{cell="@rcp",code="404",group="other",resource="other",subresource="",verb="list"} 1`,
		`code="401",group="other",resource="other"`,
		`kubecell_router_own_duration_seconds_count{cell="` + cell + `",verb="get"} 1`,
		`kubecell_router_upstream_duration_seconds_count{cell="` + cell + `"}`,
		`kubecell_router_watches{group="",resource="configmaps"} 1`,
		`kubecell_router_watch_events_total{group="",resource="configmaps"}`,
		`kubecell_router_requests_in_flight{kind="longRunning"} 1`,
		`kubecell_router_cell_up{cell="cell-3"} 1`, `kubecell_router_cell_up{cell="@rcp"} 1`, `kubecell_router_cell_probe_age_seconds{cell="cell-1"}`,
		"kubecell_router_ring_epoch ", "go_goroutines", "process_open_fds",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("there is no %s", want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
	nobody := rest.CopyConfig(b.router)
	nobody.Impersonate = rest.ImpersonationConfig{UserName: "nobody"}
	if code, body := get(t, nobody, "/metrics", ""); code != http.StatusForbidden {
		t.Errorf("without the right to: %d %s", code, body)
	}
	if code, body := get(t, b.router, "/cells/cell-1/metrics", ""); code != http.StatusOK || !strings.Contains(body, "apiserver_request_total") {
		t.Errorf("a cell's own: %d", code)
	}
	for path, want := range map[string]string{"/readyz?verbose": "[+]configuration ok", "/livez?verbose": "[+]ping ok", "/readyz/configuration": "ok"} {
		if code, body := get(t, anonymous(b.router), path, ""); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s; want %s", path, code, body, want)
		}
	}
}

// measured is the sum of all series of a page of metrics that begin so.
func measured(t *testing.T, config *rest.Config, path, series string) (sum float64) {
	t.Helper()
	code, body := get(t, config, path, "")
	if code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, code, body)
	}
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, series) {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(line, " "):]), 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += value
	}
	return sum
}
