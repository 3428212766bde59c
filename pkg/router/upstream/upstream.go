// Package upstream sends requests to one control plane, a cell or the RCP, on behalf of the user that
// the router authenticated.
//
// A control plane has one or more endpoints, its apiservers. Requests are spread over those that are up.
// A prober of its own asks each of them every second; when none has answered twice in a row the control
// plane is down: what is in flight to it is cut off, and new requests fail at once until a probe
// succeeds. Nothing (no lock, no limit, no connection) is shared between control planes, so that one that
// hangs holds up nothing else.
//
// Invariants: nothing that a client says about its own identity reaches a control plane, only what
// the router found out, as impersonation headers; a request that may have been carried out is not sent
// again, unless it only reads.
//
// Not promised: that the control plane is alive. A request that gets no answer fails with the error
// of the transport, and [ControlPlane.ServeHTTP] turns that into 503 with the control plane's name.
//
// Start reading at [ControlPlane.Send].
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// requestTimeout bounds a request that is no stream; an apiserver has the same bound.
const requestTimeout = 60 * time.Second

// readTimeout bounds one read of metadata for the router itself, on which a client's request waits: a control plane
// that accepts and never answers must not hold that up for as long as the client has patience.
const readTimeout = 5 * time.Second

// ownTimeout bounds any other request of the router's own, with its answer: copies, lists of what is to be deleted, marks
// that are taken off. Only watches go on for longer.
const ownTimeout = 10 * time.Second

// ErrCredentials is what an [ErrorResponder] gets where a control plane refuses the router's own
// credentials. The administrator has to give the cell a new kubeconfig.
var ErrCredentials = errors.New("it refuses the credentials of its kubeconfig")

// ErrorResponder answers a request that got no answer from the control plane.
type ErrorResponder func(w http.ResponseWriter, r *http.Request, source string, err error)

// ControlPlane is the way to one control plane.
type ControlPlane struct {
	name      string
	config    *rest.Config
	endpoints []*endpoint
	respond   ErrorResponder
	upgrade   *httputil.ReverseProxy
	dynamic   dynamic.Interface
	metadata  metadata.Interface
	mover     metadata.Interface
	// next is whose turn it is among the endpoints.
	next atomic.Uint32
	// buffers are what answers pass in, of type *[]byte.
	buffers sync.Pool

	// health makes one change of what is up and down at a time. Reading needs no lock.
	health sync.Mutex
	// down says why no endpoint can be used; nil while one can.
	down    atomic.Pointer[DownError]
	samples samples
	// probed is when a probe was last answered, in Unix nanoseconds.
	probed  atomic.Int64
	stop    context.CancelFunc
	probers sync.WaitGroup
}

// New returns the way to the control plane that config names, at the given base URLs, or at config's own
// host where there are none. config's credentials must be allowed to impersonate there. It makes no
// request itself; the probers that it starts run until [ControlPlane.Close].
func New(name string, config *rest.Config, endpoints []string, respond ErrorResponder) (*ControlPlane, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, -1
	if len(endpoints) == 0 {
		endpoints = []string{config.Host}
	}
	config.Host = endpoints[0]
	c := &ControlPlane{name: name, config: config, respond: respond}
	c.buffers.New = func() any { buffer := make([]byte, copySize); return &buffer }
	for _, host := range endpoints {
		e, err := newEndpoint(c, config, host)
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", name, err)
		}
		c.endpoints = append(c.endpoints, e)
	}
	c.upgrade = c.upgrader()
	own := &http.Client{Transport: roundTripper(c.ownRoundTrip)}
	var err error
	if c.dynamic, err = dynamic.NewForConfigAndClient(config, own); err != nil {
		return nil, fmt.Errorf("build client of %s: %w", name, err)
	}
	reads := &http.Client{Transport: own.Transport, Timeout: readTimeout}
	if c.metadata, err = metadata.NewForConfigAndClient(config, reads); err != nil {
		return nil, fmt.Errorf("build metadata client of %s: %w", name, err)
	}
	mover := transport.NewImpersonatingRoundTripper(transport.ImpersonationConfig{
		UserName: v1alpha1.UserMover, Groups: []string{v1alpha1.GroupMovers},
	}, own.Transport)
	if c.mover, err = metadata.NewForConfigAndClient(config, &http.Client{Transport: mover}); err != nil {
		return nil, fmt.Errorf("build the mover's client of %s: %w", name, err)
	}
	c.samples.size = len(c.endpoints) * int(sampledFor/probeInterval)
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	for _, e := range c.endpoints {
		c.probers.Go(func() { c.watchOver(ctx, e) })
	}
	return c, nil
}

// Close ends the probers and the idle connections. Requests in flight go on. It may be called twice.
func (c *ControlPlane) Close() {
	c.stop()
	c.probers.Wait()
	for _, e := range c.endpoints {
		e.closeIdle()
	}
}

// Name is the cell's name, or route.RCP.
func (c *ControlPlane) Name() string { return c.name }

// Dynamic is a client with the router's own rights, for what it does on nobody's behalf. What is no watch ends within a
// time of its own.
func (c *ControlPlane) Dynamic() dynamic.Interface { return c.dynamic }

// Metadata is a client like that which reads nothing of objects but their metadata, each within a time of its own.
func (c *ControlPlane) Metadata() metadata.Interface { return c.metadata }

// Mover is a metadata client with the rights of the mover, whom the fence lets through.
func (c *ControlPlane) Mover() metadata.Interface { return c.mover }

// Config is the configuration of a client like that, for the first endpoint. The caller must not change it.
func (c *ControlPlane) Config() *rest.Config { return c.config }

// Down says since when and why the control plane cannot be used; nil while it can.
func (c *ControlPlane) Down() *DownError { return c.down.Load() }

// DownError is the failure of a request to a control plane none of whose endpoints answers.
type DownError struct {
	// Since is when the control plane was given up.
	Since time.Time
	// Err is why the last probe failed.
	Err error
}

func (e *DownError) Error() string {
	return fmt.Sprintf("given up at %s: %v", e.Since.UTC().Format(time.TimeOnly), e.Err)
}

// Unwrap returns why the last probe failed.
func (e *DownError) Unwrap() error { return e.Err }

// roundTripper is a function as an [http.RoundTripper].
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
