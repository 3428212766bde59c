package sandboxtest

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// Answer is what a proxy says to a request itself. It is false where that is nothing, and the next one is asked.
type Answer func(w http.ResponseWriter, r *http.Request) (answered bool)

// Proxy is another way to a control plane until the test ends: by a proxy on loopback whose answers are asked first, in their
// order. Whoever takes it has the rights of config, and needs no credentials.
func Proxy(t testing.TB, config *rest.Config, answers ...Answer) *rest.Config {
	t.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	behind := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: transport, ErrorLog: log.New(io.Discard, "", 0), // clients that go away
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, answer := range answers {
			if answer(w, r) {
				return
			}
		}
		behind.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections() // among them watches, which do not end by themselves
		server.Close()
	})
	return &rest.Config{
		Host: server.URL, QPS: -1, Burst: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
	}
}

// NoPolicies is the [Answer] of an apiserver that has the API of admission policies turned off.
func NoPolicies(w http.ResponseWriter, r *http.Request) (answered bool) {
	if !strings.HasPrefix(r.URL.Path, "/apis/admissionregistration.k8s.io/") {
		return false
	}
	http.NotFound(w, r)
	return true
}
