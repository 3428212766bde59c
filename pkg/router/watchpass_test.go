package router_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// A router that stops ends the watches that it passes on, in order: it would wait for them until its patience ends,
// and nobody could connect meanwhile.
func TestAStoppingRouterEndsPassedOnWatches(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b := newBed(t)
	ns := b.namespace(t, "pass")
	router, stop := startRouter(t, b.rcp, t.TempDir())
	paths := []string{
		"/api/v1/namespaces?watch=true&fieldSelector=metadata.name=" + ns,
		"/cells/cell-1/api/v1/namespaces?watch=true&fieldSelector=metadata.name=" + ns,
	}
	var streams []*bufio.Reader
	for _, path := range paths {
		stream := openStream(ctx, t, router, path)
		// It is there: the first event came.
		if line, err := stream.ReadString('\n'); err != nil || !strings.Contains(line, ns) {
			t.Fatalf("GET %s: %q, %v", path, line, err)
		}
		streams = append(streams, stream)
	}
	stop()
	for i, stream := range streams {
		if rest, err := io.ReadAll(stream); err != nil {
			t.Errorf("GET %s ended with %v after %q; want its end", paths[i], err, rest)
		}
	}
}

// openStream asks for path and returns what the answer says.
func openStream(ctx context.Context, t *testing.T, config *rest.Config, path string) *bufio.Reader {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", path, answer.Status)
	}
	return bufio.NewReader(answer.Body)
}
