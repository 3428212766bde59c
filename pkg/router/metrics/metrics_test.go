package metrics

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

func newTestMetrics() *Metrics {
	now := time.Unix(1000, 0)
	return New(Config{
		Planes: func() []Plane {
			return []Plane{{Name: "cell-1", Up: true, Probed: now.Add(-time.Second)}, {Name: "cell-2"}}
		},
		Ledger:    func() []ledger.Count { return []ledger.Count{{Cell: "cell-1", Writes: 3, Dropped: 1}} },
		Epoch:     func() int64 { return 7 },
		Resources: []schema.GroupResource{{Resource: "configmaps"}},
		Now:       func() time.Time { return now },
	})
}

// serve measures one request with an answer.
func serve(m *Metrics, info *request.RequestInfo, next http.HandlerFunc) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(request.WithRequestInfo(r.Context(), info))
	watches := func(_ *http.Request, info *request.RequestInfo) bool { return info.Verb == "watch" }
	defer func() { _ = recover() }()
	m.Measure(next, watches).ServeHTTP(httptest.NewRecorder(), r)
}

func answers(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		From(r.Context()).Served("cell-1")
		From(r.Context()).Waited("cell-1", time.Millisecond)
		w.WriteHeader(code)
	}
}

// lines are what Prometheus reads of the metrics with one prefix.
func lines(t *testing.T, m *Metrics, prefix string) []string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var out []string
	for line := range strings.SplitSeq(w.Body.String(), "\n") {
		if strings.HasPrefix(line, prefix) {
			out = append(out, strings.TrimPrefix(line, prefix))
		}
	}
	return out
}

func TestWhatClientsInventHasNoLabels(t *testing.T) {
	m := newTestMetrics()
	of := func(group, resource, subresource, verb string) *request.RequestInfo {
		return &request.RequestInfo{IsResourceRequest: true, APIGroup: group, Resource: resource, Subresource: subresource, Verb: verb}
	}
	for i := range 100 {
		serve(m, of("", fmt.Sprintf("garbage-%d", i), "", "get"), answers(http.StatusNotFound))
	}
	serve(m, of("", "configmaps", "", "get"), answers(http.StatusNotFound))
	serve(m, of("example.org", "things", "", "list"), answers(http.StatusOK))
	serve(m, of("example.org", "things", "", "get"), answers(http.StatusNotFound))
	serve(m, of("example.org", "things", "nonsense", "get"), answers(http.StatusNotFound))
	serve(m, &request.RequestInfo{Verb: "brew"}, answers(799))
	serve(m, &request.RequestInfo{Verb: "get"}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	serve(m, &request.RequestInfo{Verb: "get"}, func(http.ResponseWriter, *http.Request) {})
	want := []string{
		`{cell="",code="200",group="",resource="",subresource="",verb="get"} 1`,
		`{cell="",code="aborted",group="",resource="",subresource="",verb="get"} 1`,
		`{cell="cell-1",code="200",group="example.org",resource="things",subresource="",verb="list"} 1`,
		`{cell="cell-1",code="404",group="",resource="configmaps",subresource="",verb="get"} 1`,
		`{cell="cell-1",code="404",group="example.org",resource="things",subresource="",verb="get"} 1`,
		`{cell="cell-1",code="404",group="other",resource="other",subresource="",verb="get"} 101`,
		`{cell="cell-1",code="other",group="",resource="",subresource="",verb="other"} 1`,
	}
	if diff := cmp.Diff(want, lines(t, m, "kubecell_router_requests_total")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := lines(t, m, `kubecell_router_requests_in_flight{kind="readOnly"}`); !slices.Equal(got, []string{" 0"}) {
		t.Errorf("in flight after all have ended: %v", got)
	}
}

func TestStatesOfControlPlanes(t *testing.T) {
	got := lines(t, newTestMetrics(), "kubecell_router_cell")
	want := []string{`_probe_age_seconds{cell="cell-1"} 1`, `_up{cell="cell-1"} 1`, `_up{cell="cell-2"} 0`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWatchesAreCountedWhileTheyLast(t *testing.T) {
	m := newTestMetrics()
	info := &request.RequestInfo{IsResourceRequest: true, Resource: "configmaps", Verb: "watch"}
	serve(m, info, func(_ http.ResponseWriter, r *http.Request) {
		measured := From(r.Context())
		ended := measured.Watching()
		measured.Event()
		measured.Event()
		if got := lines(t, m, "kubecell_router_watches{"); !slices.Equal(got, []string{`group="",resource="configmaps"} 1`}) {
			t.Errorf("while it is open: %v", got)
		}
		ended()
	})
	if got := lines(t, m, "kubecell_router_watches{"); !slices.Equal(got, []string{`group="",resource="configmaps"} 0`}) {
		t.Errorf("when it has ended: %v", got)
	}
	if got := lines(t, m, "kubecell_router_watch_events_total"); !slices.Equal(got, []string{`{group="",resource="configmaps"} 2`}) {
		t.Errorf("events: %v", got)
	}
	if got := lines(t, m, "kubecell_router_request_duration_seconds_count"); len(got) != 0 {
		t.Errorf("a watch has a duration: %v", got)
	}
}

// TestThePageOfMetrics compares docs/metrics.md with the registry; -update writes it.
func TestThePageOfMetrics(t *testing.T) {
	const page = "../../../docs/metrics.md"
	m := newTestMetrics()
	m.refused.WithLabelValues("cell-1", string(readOnly))
	m.watching.of(schema.GroupResource{})
	serve(m, &request.RequestInfo{Verb: "get"}, answers(http.StatusOK))
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	table := "| name | type | labels | meaning |\n|---|---|---|---|\n"
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "kubecell_") {
			table += row(family)
		}
	}
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), "| name |")
	if !ok {
		t.Fatalf("%s has no table", page)
	}
	_, tail, _ := strings.Cut(rest, "\n\n")
	want := head + table + "\n" + tail
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("the page is not that of the registry (-want +got):\n%s", diff)
	}
}

func row(family *dto.MetricFamily) string {
	var labels []string
	for _, label := range family.GetMetric()[0].GetLabel() {
		labels = append(labels, "`"+label.GetName()+"`")
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", family.GetName(), strings.ToLower(family.GetType().String()), strings.Join(labels, ", "), family.GetHelp())
}

// nobody is an answer to nobody, so that a benchmark measures nothing else.
type nobody struct{ http.ResponseWriter }

func (nobody) WriteHeader(int) {}

func BenchmarkMeasure(b *testing.B) {
	m := New(Config{Planes: func() []Plane { return nil }, Epoch: func() int64 { return 0 }, Now: time.Now,
		Resources: []schema.GroupResource{{Resource: "configmaps"}}})
	info := &request.RequestInfo{IsResourceRequest: true, Resource: "configmaps", Verb: "get"}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(request.WithRequestInfo(r.Context(), info))
	measured := m.Measure(answers(http.StatusOK), func(*http.Request, *request.RequestInfo) bool { return false })
	b.ReportAllocs()
	for b.Loop() {
		measured.ServeHTTP(nobody{}, r)
	}
}
