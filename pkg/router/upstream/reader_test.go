package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// readerOf reads from a server, and counts its connections.
func readerOf(server *httptest.Server, connections *atomic.Int32) *reader {
	address := server.Listener.Addr().String()
	return &reader{other: http.DefaultTransport, host: address, connect: func(ctx context.Context) (net.Conn, error) {
		connections.Add(1)
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}}
}

func read(t *testing.T, rt http.RoundTripper, server, path string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := rt.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return string(body)
}

// TestConnectionsAreKeptWhereTheyCan: a connection is used again if and only if the answer was read to its
// end and the server keeps it.
func TestConnectionsAreKeptWhereTheyCan(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/close":
			w.Header().Set("Connection", "close")
		case "/chunked":
			_, _ = io.WriteString(w, "first")
			w.(http.Flusher).Flush()
		case "/none":
			w.WriteHeader(http.StatusNoContent)
			return
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
		}
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	t.Cleanup(server.Close)
	for path, want := range map[string]struct {
		body        string
		connections int32
	}{
		"/plain": {"/plain", 1}, "/chunked": {"first/chunked", 1}, "/none": {"", 1}, "/early": {"/early", 1}, "/close": {"/close", 3},
	} {
		var connections atomic.Int32
		rt := readerOf(server, &connections)
		for range 3 {
			if got := read(t, rt, server.URL, path); got != want.body {
				t.Errorf("%s: %q; want %q", path, got, want.body)
			}
		}
		if got := connections.Load(); got != want.connections {
			t.Errorf("%s: %d connections for three reads; want %d", path, got, want.connections)
		}
		rt.CloseIdleConnections()
	}
}

// TestAKeptConnectionThatWasClosedIsReplaced without the client noticing.
func TestAKeptConnectionThatWasClosedIsReplaced(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	t.Cleanup(server.Close)
	var connections atomic.Int32
	rt := readerOf(server, &connections)
	for range 3 {
		if got := read(t, rt, server.URL, "/"); got != "ok" {
			t.Errorf("%q; want ok", got)
		}
		server.CloseClientConnections()
	}
	if connections.Load() != 3 {
		t.Errorf("%d connections; want 3", connections.Load())
	}
}

// TestAnAnswerThatNobodyReadsIsNotTheNextOne: an abandoned body must never be taken for another answer.
func TestAnAnswerThatNobodyReadsIsNotTheNextOne(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat(r.URL.Path, 20000))
	}))
	t.Cleanup(server.Close)
	var connections atomic.Int32
	rt := readerOf(server, &connections)
	for range 3 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/abandoned", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := rt.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if got := read(t, rt, server.URL, "/x"); strings.Trim(got, "/x") != "" {
			t.Fatalf("answer %.40q", got)
		}
	}
}

// TestAClientThatGoesAwayEndsItsRead at once.
func TestAClientThatGoesAwayEndsItsRead(t *testing.T) {
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	}))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	var connections atomic.Int32
	time.AfterFunc(50*time.Millisecond, cancel)
	answer, err := readerOf(server, &connections).RoundTrip(r)
	if !errors.Is(err, context.Canceled) {
		answer.Body.Close()
		t.Errorf("error %v; want that of the context", err)
	}
	<-ended
}

// TestNothingCanBeSmuggledIn: what would end a line is refused before a byte is sent.
func TestNothingCanBeSmuggledIn(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"a line in a value":     {Header: http.Header{"Impersonate-User": {"x\r\nImpersonate-Group: system:masters"}}},
		"a line feed alone":     {Header: http.Header{"X": {"a\nb"}}},
		"a line in a name":      {Header: http.Header{"X: y\r\nZ": {"a"}}},
		"a name that is empty":  {Header: http.Header{"": {"a"}}},
		"a space in the query":  {URL: &url.URL{Path: "/", RawQuery: "a HTTP/1.1"}},
		"a line in the query":   {URL: &url.URL{Path: "/", RawQuery: "a\r\nX: y"}},
		"a zero in the value":   {Header: http.Header{"X": {"a\x00"}}},
		"a delete in the query": {URL: &url.URL{Path: "/", RawQuery: "\x7f"}},
	} {
		if r.URL == nil {
			r.URL = &url.URL{Path: "/"}
		}
		r.Method = http.MethodGet
		var out strings.Builder
		w := bufio.NewWriter(&out)
		if err := writeHead(w, "host", r); !errors.Is(err, errUnsendable) || w.Buffered() > 0 {
			t.Errorf("%s: %v, %d bytes written; want a refusal and none", name, err, w.Buffered())
		}
	}
	var out strings.Builder
	w := bufio.NewWriter(&out)
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/a b/é", RawQuery: "x=%20"}, Header: http.Header{"X": {"ä\tb"}}}
	if err := writeHead(w, "host", r); err != nil || w.Flush() != nil || out.String() != "GET /a%20b/%C3%A9?x=%20 HTTP/1.1\r\nHost: host\r\nX: ä\tb\r\n\r\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
