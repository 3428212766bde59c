package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/apiserver"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/pki"
)

const probePeriod = 50 * time.Millisecond

// serving is an apiserver that runs in a goroutine, which ends when stop is called.
type serving struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid once done is closed
}

// serve has a context of its own: the apiserver ends when stop says so, after the controllers.
func serve(server *apiserver.Server) *serving {
	ctx, cancel := context.WithCancel(context.Background())
	s := &serving{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.err = server.Run(ctx)
	}()
	return s
}

func (s *serving) stop(grace time.Duration) {
	s.cancel()
	atMost(grace, func() { <-s.done })
}

// atMost waits for the function, but not longer than the grace period; the process ends soon after.
func atMost(grace time.Duration, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// awaitServing asks /readyz the way a client does, through the port and with a client certificate,
// until it says yes or the context ends.
func awaitServing(ctx context.Context, address string, m *pki.Material) error {
	certificate, err := tls.X509KeyPair(m.Admin.Cert, m.Admin.Key)
	if err != nil {
		return fmt.Errorf("reading admin certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(m.CA)
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      roots,
		Certificates: []tls.Certificate{certificate},
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	return wait.PollUntilContextCancel(ctx, probePeriod, true, func(ctx context.Context) (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/readyz", nil)
		if err != nil {
			return false, fmt.Errorf("asking for readiness: %w", err)
		}
		return answersOK(client, request), nil
	})
}

// answersOK counts an apiserver that does not answer at all as one that is not ready.
func answersOK(client *http.Client, request *http.Request) bool {
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
