package migration

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

const (
	// idleConnections to one cell are kept for the next requests, idleTimeout long. A window may be larger.
	idleConnections  = 256
	idleTimeout      = 30 * time.Second
	handshakeTimeout = 10 * time.Second
)

// shortRequests is a client for many small requests at once. They go by HTTP/1.1, which costs both sides less than
// HTTP/2 (decision 9), by connections that are kept: as many as requests are in flight. Nothing is compressed, since
// a cell is near and its processor is what a move takes most of.
func shortRequests(config *rest.Config) (*http.Client, error) {
	tc, err := config.TransportConfig()
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	security, err := transport.TLSConfigFor(tc)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	if security == nil {
		security = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	security.NextProtos = []string{"http/1.1"}
	short := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: security, TLSHandshakeTimeout: handshakeTimeout,
		MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: idleTimeout, DisableCompression: true,
	}
	if tc.Proxy != nil {
		short.Proxy = tc.Proxy
	}
	if tc.DialHolder != nil {
		short.DialContext = tc.DialHolder.Dial
	}
	wrapped, err := transport.HTTPWrappersForConfig(tc, short)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	return &http.Client{Transport: wrapped, Timeout: config.Timeout}, nil
}
