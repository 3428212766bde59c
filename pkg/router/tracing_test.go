package router_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/router/routertest"
)

// spans is a collector.
type spans struct {
	collector.UnimplementedTraceServiceServer
	mu sync.Mutex
	// all are guarded by mu.
	all []*tracev1.Span
}

// Export takes spans over.
func (s *spans) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range r.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			s.all = append(s.all, scope.Spans...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// of is the trace with an ID: the names of its spans, each with that of the span that it is in.
func (s *spans) of(trace string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, out := map[string]string{}, map[string]string{}
	for _, span := range s.all {
		names[string(span.SpanId)] = span.Name
	}
	for _, span := range s.all {
		if hex.EncodeToString(span.TraceId) == trace {
			in, known := names[string(span.ParentSpanId)]
			if !known {
				in = hex.EncodeToString(span.ParentSpanId)
			}
			out[span.Name] = in
		}
	}
	return out
}

// collect listens for spans, and returns a configuration that has all requests traced.
func collect(t *testing.T) (to *spans, file string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to = &spans{}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, to)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	file = filepath.Join(t.TempDir(), "tracing.yaml")
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\nendpoint: " + listener.Addr().String() + "\nsamplingRatePerMillion: 1000000\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return to, file
}

// TestRequestsAreTraced from the client through the router to each cell.
func TestRequestsAreTraced(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "traced")
	names := b.oneOfEach(t, ns)
	to, file := collect(t)
	config, stop := startRouter(t, b.rcp, t.TempDir(), func(c *router.Config) { c.TracingConfig = file })
	const parent = "b7ad6b7169203331"
	ask := func(trace, name string) {
		as := rest.CopyConfig(config)
		as.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				r.Header.Set("Traceparent", fmt.Sprintf("00-%s-%s-01", trace, parent))
				return next.RoundTrip(r)
			})
		})
		maps := kube(t, as).CoreV1().ConfigMaps(ns)
		var err error
		if name == "" {
			_, err = maps.List(t.Context(), metav1.ListOptions{})
		} else {
			_, err = maps.Get(t.Context(), name, getOptions())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const one, all = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c"
	ask(one, names["cell-2"])
	ask(all, "")
	stop() // which hands over what there is
	const get, list = "GET /api/v1/namespaces/{:namespace}/configmaps/{:name}", "GET /api/v1/namespaces/{:namespace}/configmaps"
	if got := to.of(one); len(got) != 2 || got[get] != parent || got["GET cell-2"] != get {
		t.Errorf("spans of a get: %v", got)
	}
	if got := to.of(all); len(got) != 4 || got[list] != parent || got["GET cell-1"] != list || got["GET cell-2"] != list || got["GET cell-3"] != list {
		t.Errorf("spans of a list: %v", got)
	}
}

// TestMistakesInATracingConfigurationAreNamed at the start.
func TestMistakesInATracingConfigurationAreNamed(t *testing.T) {
	b := newBed(t)
	const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n"
	for text, want := range map[string]string{
		head + "sampling: 1\n":                `unknown field "sampling"`,
		head + "samplingRatePerMillion: -1\n": "samplingRatePerMillion",
		head + "endpoint: http://x:1\n":       "endpoint",
	} {
		file := filepath.Join(t.TempDir(), "tracing.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		writeCertificate(t, filepath.Join(dir, "pki"))
		_, err := routertest.Start(b.rcp, dir, func(c *router.Config) { c.TracingConfig = file })
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v; want an error about %s that says %q", text, err, file, want)
		}
	}
}
