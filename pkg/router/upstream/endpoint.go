package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

const (
	// dialTimeout bounds how long an endpoint may take to accept a connection, TLS included; a dead host
	// must not hold a request for the minutes that TCP would.
	dialTimeout = 5 * time.Second
	// idleTimeout is shorter than an apiserver's (90 s), so that a request rarely meets a connection that
	// the other side is about to close.
	idleTimeout = 60 * time.Second
	// maxIdle is how many connections are kept for the next requests.
	maxIdle = 256
	// pingTimeout bounds, twice, for how long a dead peer of a stream goes unnoticed.
	pingTimeout = 5 * time.Second
	// bufferSize of connections, in bytes: most objects fit.
	bufferSize = 16 << 10
)

// endpoint is one apiserver of a control plane.
type endpoint struct {
	of     *ControlPlane
	base   *url.URL
	prefix string
	// single is HTTP/1.1: for short requests it takes much less CPU than HTTP/2 on both sides, and
	// connections that it takes over can be given away, which upgrades need.
	single http.RoundTripper
	// stream is HTTP/2, for watches: many over few connections.
	stream http.RoundTripper
	// probe is a way of its own, so that probes go on while the others are cut off.
	probe http.RoundTripper

	// down is true while requests go elsewhere.
	down atomic.Bool
	// answered is when the endpoint last answered a request, in Unix nanoseconds.
	answered atomic.Int64
	// answers counts them.
	answers atomic.Int64

	mu    sync.Mutex // guards what follows
	conns map[*conn]struct{}
	idle  []interface{ CloseIdleConnections() }
}

func newEndpoint(of *ControlPlane, config *rest.Config, host string) (*endpoint, error) {
	config = rest.CopyConfig(config)
	config.Host = host
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", host, err)
	}
	e := &endpoint{of: of, base: base, prefix: strings.TrimSuffix(base.Path, "/"), conns: map[*conn]struct{}{}}
	if e.single, err = e.transport(config, e.dial, e.reading, "http/1.1"); err != nil {
		return nil, err
	}
	if e.stream, err = e.transport(config, e.dial, nil, "h2", "http/1.1"); err != nil {
		return nil, err
	}
	e.probe, err = e.transport(config, dial, nil, "http/1.1")
	return e, err
}

// reading puts a reader before a transport, unless there is a proxy on the way.
func (e *endpoint) reading(t *http.Transport) http.RoundTripper {
	if proxy, err := t.Proxy(&http.Request{URL: e.base}); proxy != nil || err != nil {
		return t
	}
	connect, address := t.DialTLSContext, e.base.Host
	if e.base.Scheme == "http" {
		connect = t.DialContext
	}
	if e.base.Port() == "" {
		address = net.JoinHostPort(e.base.Hostname(), e.base.Scheme)
	}
	r := &reader{other: t, host: e.base.Host, connect: func(ctx context.Context) (net.Conn, error) {
		return connect(ctx, "tcp", address)
	}}
	e.idle = append(e.idle, r)
	return r
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext(ctx, network, address)
}

// transport is one set of connections with the credentials of config.
func (e *endpoint) transport(config *rest.Config, dial dialer, wrap func(*http.Transport) http.RoundTripper, protocols ...string) (http.RoundTripper, error) {
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
	security.NextProtos = protocols
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           wrapDial(dial),
		DialTLSContext:        wrapDial(dialTLS(dial, security)),
		TLSClientConfig:       security,
		TLSHandshakeTimeout:   dialTimeout,
		MaxIdleConns:          maxIdle,
		MaxIdleConnsPerHost:   maxIdle,
		IdleConnTimeout:       idleTimeout,
		DisableCompression:    true,
		ForceAttemptHTTP2:     protocols[0] == "h2",
		ReadBufferSize:        bufferSize,
		WriteBufferSize:       bufferSize,
		ExpectContinueTimeout: time.Second,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingTimeout, PingTimeout: pingTimeout},
	}
	if tc.Proxy != nil {
		t.Proxy = tc.Proxy
	}
	e.idle = append(e.idle, t)
	var base http.RoundTripper = t
	if wrap != nil {
		base = wrap(t)
	}
	rt, err := transport.HTTPWrappersForConfig(tc, base)
	if err != nil {
		return nil, fmt.Errorf("use credentials: %w", err)
	}
	return rt, nil
}

// dialTLS connects and shakes hands, all within dialTimeout.
func dialTLS(dial dialer, config *tls.Config) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := config
		if c.ServerName == "" {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				host = address
			}
			c = c.Clone()
			c.ServerName = host
		}
		secure := tls.Client(raw, c)
		if err := secure.HandshakeContext(ctx); err != nil {
			// What closing a connection that came to nothing says is of no use to anybody.
			_ = raw.Close()
			return nil, err
		}
		return secure, nil
	}
}

// dialError is the failure of a request that was never sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func wrapDial(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, &dialError{err}
		}
		return c, nil
	}
}

// NotSent says whether a request with this error surely never reached the control plane.
func NotSent(err error) bool {
	var dial *dialError
	var down *DownError
	return errors.As(err, &dial) || errors.As(err, &down)
}

// conn is a connection that can be cut off with all others of its endpoint.
type conn struct {
	net.Conn
	of *endpoint
}

func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// dial connects, unless the control plane was given up: what is in flight then must not wait once more.
func (e *endpoint) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if down := e.of.down.Load(); down != nil {
		return nil, down
	}
	raw, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, of: e}
	e.mu.Lock()
	e.conns[c] = struct{}{}
	e.mu.Unlock()
	return c, nil
}

// cut breaks off everything in flight to the endpoint.
func (e *endpoint) cut() {
	e.mu.Lock()
	conns := make([]*conn, 0, len(e.conns))
	for c := range e.conns {
		conns = append(conns, c)
	}
	e.mu.Unlock()
	for _, c := range conns {
		// What closing a dead connection says is of no use to anybody.
		_ = c.Close()
	}
}

func (e *endpoint) closeIdle() {
	for _, t := range e.idle {
		t.CloseIdleConnections()
	}
}
