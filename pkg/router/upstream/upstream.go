// Package upstream sends requests to one control plane, a cell or the RCP, on behalf of the user that
// the router authenticated.
//
// Invariants: nothing that a client says about its own identity reaches a control plane, only what
// the router found out, as impersonation headers; a request's and an answer's body pass unread.
//
// Not promised: that the control plane is alive. A request that gets no answer fails with the error
// of the transport, and [ControlPlane.ServeHTTP] turns that into 503 with the control plane's name.
package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

// dialTimeout bounds how long a control plane may take to accept a connection; a dead host must not
// hold a request for the minutes that TCP would.
const dialTimeout = 5 * time.Second

// ErrCredentials is what an [ErrorResponder] gets where a control plane refuses the router's own
// credentials. The administrator has to give the cell a new kubeconfig.
var ErrCredentials = errors.New("it refuses the credentials of its kubeconfig")

// ErrorResponder answers a request that got no answer from the control plane.
type ErrorResponder func(w http.ResponseWriter, r *http.Request, source string, err error)

// ControlPlane is the way to one control plane.
type ControlPlane struct {
	name    string
	base    *url.URL
	config  *rest.Config
	direct  http.RoundTripper
	proxy   *httputil.ReverseProxy
	upgrade *httputil.ReverseProxy
	dynamic dynamic.Interface
}

// New returns the way to the control plane that config names. It makes no request. config's
// credentials must be allowed to impersonate there.
func New(name string, config *rest.Config, respond ErrorResponder) (*ControlPlane, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, -1
	config.Dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("server of %s: %w", name, err)
	}
	direct, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", name, err)
	}
	// SPDY and WebSocket take a connection over, which HTTP/2 cannot give away.
	http1 := rest.CopyConfig(config)
	http1.NextProtos = []string{"http/1.1"}
	upgrade, err := rest.TransportFor(http1)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", name, err)
	}
	c := &ControlPlane{name: name, base: base, config: config, direct: direct}
	c.proxy = c.reverseProxy(direct, respond)
	c.upgrade = c.reverseProxy(upgrade, respond)
	if c.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("build client of %s: %w", name, err)
	}
	return c, nil
}

// Name is the cell's name, or route.RCP.
func (c *ControlPlane) Name() string { return c.name }

// Dynamic is a client with the router's own rights, for what it does on nobody's behalf.
func (c *ControlPlane) Dynamic() dynamic.Interface { return c.dynamic }

// Config is the configuration of that client. The caller must not change it.
func (c *ControlPlane) Config() *rest.Config { return c.config }

// ServeHTTP forwards r as the user in its context and passes the answer on as it comes.
func (c *ControlPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		c.upgrade.ServeHTTP(w, r)
		return
	}
	c.proxy.ServeHTTP(w, r)
}

// Do sends a request of the router's own making as the user in its context. path and query in r.URL
// are those of the API; the caller closes the answer's body.
func (c *ControlPlane) Do(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.RequestURI = ""
	c.retarget(out.URL)
	out.Host = ""
	// Of the client's headers only these: one like "Connection: Impersonate-User" would have a proxy
	// between here and there take the user's name off again.
	out.Header = http.Header{}
	for _, name := range []string{"Accept", "User-Agent"} {
		if values := r.Header.Values(name); len(values) > 0 {
			out.Header[name] = values
		}
	}
	return impersonator{c.direct}.RoundTrip(out)
}

func (c *ControlPlane) reverseProxy(rt http.RoundTripper, respond ErrorResponder) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			c.retarget(p.Out.URL)
			p.Out.Host = ""
			stripIdentity(p.Out.Header)
		},
		Transport: impersonator{rt},
		// Watches and logs are streams: what has come is passed on at once.
		FlushInterval:  -1,
		ModifyResponse: refusedCredentials,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			respond(w, r, c.name, err)
		},
	}
}

// refusedCredentials keeps a control plane's 401 from the client: it is about the router's own
// credentials there. What a workload behind a proxy subresource says is the client's.
func refusedCredentials(answer *http.Response) error {
	if answer.StatusCode != http.StatusUnauthorized || strings.Contains(answer.Request.URL.Path, "/proxy") {
		return nil
	}
	return ErrCredentials
}

// retarget points the URL of a request at this control plane and leaves its path and query.
func (c *ControlPlane) retarget(u *url.URL) {
	u.Scheme, u.Host = c.base.Scheme, c.base.Host
	if prefix := strings.TrimSuffix(c.base.Path, "/"); prefix != "" {
		raw := prefix + u.EscapedPath()
		u.Path, u.RawPath = prefix+u.Path, raw
	}
}

// stripIdentity removes every header by which a client could say who it is.
func stripIdentity(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "Impersonate-") || strings.HasPrefix(name, "X-Remote-") || strings.HasPrefix(name, "X-Forwarded-") {
			delete(h, name)
		}
	}
	delete(h, "Authorization")
}

// impersonator adds the user in a request's context. A request without one is refused: it must never
// reach a control plane with the router's own rights.
type impersonator struct{ rt http.RoundTripper }

func (i impersonator) RoundTrip(r *http.Request) (*http.Response, error) {
	user, ok := request.UserFrom(r.Context())
	if !ok || user.GetName() == "" {
		return nil, fmt.Errorf("%s %s has no authenticated user", r.Method, r.URL.Path)
	}
	return transport.NewImpersonatingRoundTripper(transport.ImpersonationConfig{
		UserName: user.GetName(),
		UID:      user.GetUID(),
		Groups:   user.GetGroups(),
		Extra:    user.GetExtra(),
	}, i.rt).RoundTrip(r)
}
