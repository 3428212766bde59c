package upstream

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/rest"
)

// upgrading takes connections over as an apiserver does for exec, and sends back what comes.
func upgrading(t *testing.T, seen *http.Header) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		*seen = r.Header.Clone()
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		_, _ = io.Copy(conn, buffered) // until the client goes away
	}))
	t.Cleanup(server.Close)
	return server
}

// TestUpgradesTakeTheConnectionOver in both ways that Kubernetes knows, and as the user alone.
func TestUpgradesTakeTheConnectionOver(t *testing.T) {
	var seen http.Header
	server := upgrading(t, &seen)
	c, err := New("cell-1", &rest.Config{Host: server.URL, BearerToken: "the router's"}, nil, func(http.ResponseWriter, *http.Request, string, error) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.ServeHTTP(w, r.WithContext(request.WithUser(r.Context(), &user.DefaultInfo{Name: "alice"})))
	}))
	t.Cleanup(front.Close)
	for _, protocol := range []string{"SPDY/3.1", "websocket"} {
		conn, err := net.Dial("tcp", front.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /api/v1/namespaces/a/pods/x/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, Impersonate-User\r\nUpgrade: %s\r\n"+
			"Authorization: Bearer the client's\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n", protocol)
		in := bufio.NewReader(conn)
		answer, err := http.ReadResponse(in, nil) //nolint:bodyclose // what follows belongs to the connection
		if err != nil || answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Upgrade") != protocol {
			t.Fatalf("%s: %v, %v", protocol, answer, err)
		}
		for _, line := range []string{"one\n", "two\n"} {
			if _, err := io.WriteString(conn, line); err != nil {
				t.Fatal(err)
			}
			if got, err := in.ReadString('\n'); err != nil || got != line {
				t.Errorf("%s: sent %q, got %q, %v", protocol, line, got, err)
			}
		}
		for header, want := range map[string]string{
			"Impersonate-User": "alice", "Authorization": "Bearer the router's", "X-Stream-Protocol-Version": "v4.channel.k8s.io",
		} {
			if seen.Get(header) != want {
				t.Errorf("%s: %s = %q; want %q", protocol, header, seen.Get(header), want)
			}
		}
	}
}
