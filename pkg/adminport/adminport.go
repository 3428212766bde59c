// Package adminport is where a daemon tells of itself: its health, its metrics and Go's profiles, over
// plain HTTP.
//
// Whoever reaches the port may read all of it: there are no credentials, so that it answers whatever
// else is down. It belongs on loopback, or behind what keeps others away.
package adminport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// readHeaderTimeout keeps a client that never finishes its request from holding a connection.
const readHeaderTimeout = 10 * time.Second

// Config is what a port answers.
type Config struct {
	// Address is the host and port to listen on; port 0 is a free one.
	Address string
	// Health answers /healthz, /livez, /readyz and what is below them.
	Health http.Handler
	// Metrics answers /metrics.
	Metrics http.Handler
	// More are what else there is to read, by path.
	More map[string]http.Handler
}

// Port answers until Close.
type Port struct {
	// URL is the base of all paths.
	URL string

	server *http.Server
	ended  chan struct{}
}

// Open listens. An address that is taken is an error at once.
func Open(ctx context.Context, config Config) (*Port, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", config.Address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", config.Address, err)
	}
	p := &Port{
		URL:    "http://" + listener.Addr().String(),
		server: &http.Server{Handler: paths(config), ReadHeaderTimeout: readHeaderTimeout},
		ended:  make(chan struct{}),
	}
	go func() {
		defer close(p.ended)
		// Where this fails nobody is told any more; the daemon's work goes on.
		_ = p.server.Serve(listener)
	}()
	return p, nil
}

// Close cuts off what is being answered, and returns when the port is free.
func (p *Port) Close() error {
	err := p.server.Close()
	<-p.ended
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the admin port: %w", err)
	}
	return nil
}

func paths(config Config) http.Handler {
	mux := http.NewServeMux()
	for _, root := range []string{"/healthz", "/livez", "/readyz"} {
		mux.Handle(root, config.Health)
		mux.Handle(root+"/", config.Health)
	}
	mux.Handle("/metrics", config.Metrics)
	for path, handler := range config.More {
		mux.Handle(path, handler)
	}
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
