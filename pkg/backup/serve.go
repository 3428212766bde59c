package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readHeaderTimeout keeps a client that never finishes its request from holding a connection.
const readHeaderTimeout = 10 * time.Second

// server answers /healthz, /livez, /readyz and /metrics.
type server struct {
	url   string
	ended chan struct{}
}

// serve listens until ctx ends. A port that is taken is an error at once.
func serve(ctx context.Context, address string, registry *prometheus.Registry) (*server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	mux := http.NewServeMux()
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	}
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	s := &server{url: "http://" + listener.Addr().String(), ended: make(chan struct{})}
	h := &http.Server{Handler: mux, ReadHeaderTimeout: readHeaderTimeout}
	go func() {
		defer close(s.ended)
		if err := h.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			<-ctx.Done() // nobody scrapes any more; the work goes on
		}
	}()
	// A scrape that is cut off is made again; nothing is worth waiting for.
	context.AfterFunc(ctx, func() { _ = h.Close() })
	return s, nil
}

// wait returns when the server has ended, which it does after its context.
func (s *server) wait() { <-s.ended }
