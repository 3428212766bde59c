package soak

import (
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// cuts counts the requests that were sent and never answered. What finds no connection is none of them: a client may try that
// again without knowing what it asked for.
type cuts struct {
	mu sync.Mutex
	// met are what the clients were told, guarded by mu.
	met []string
}

func (c *cuts) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.met
}

// watch wraps a transport.
func (c *cuts) watch(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		var sent atomic.Bool
		ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			GetConn:      func(string) { sent.Store(false) }, // anew where the transport tries again by itself
			WroteHeaders: func() { sent.Store(true) },
		})
		answer, err := next.RoundTrip(r.WithContext(ctx))
		if err != nil && sent.Load() && r.Context().Err() == nil {
			c.mu.Lock()
			c.met = append(c.met, fmt.Sprintf("%s %s: %v", r.Method, r.URL.Path, err))
			c.mu.Unlock()
		}
		return answer, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
