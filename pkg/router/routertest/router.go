// Package routertest runs a router in the process of a test.
package routertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/router"
)

// Router is a router that runs.
type Router struct {
	// Config is the access that the RCP's administrator has to it.
	Config *rest.Config
	// Stop ends it, and returns when it has ended. It may be called again.
	Stop func() error
}

// Run runs a router until the test ends or it is stopped.
func Run(t testing.TB, rcp *rest.Config, options ...func(*router.Config)) *Router {
	t.Helper()
	r, err := Start(rcp, t.TempDir(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Errorf("router: %v", err)
		}
	})
	return r
}

// Start runs a router until it is stopped, and returns when it is ready. Its files are in a directory that is there
// already; a certificate is used that lies in pki/router.crt and .key of it. Options change its configuration.
func Start(rcp *rest.Config, dir string, options ...func(*router.Config)) (*Router, error) {
	ca, pki := filepath.Join(dir, "client-ca.crt"), filepath.Join(dir, "pki")
	if err := os.WriteFile(ca, rcp.CAData, 0o600); err != nil {
		return nil, fmt.Errorf("write the CA of the router's clients: %w", err)
	}
	serving := genericoptions.NewSecureServingOptions()
	serving.BindAddress, serving.BindPort = net.IPv4(127, 0, 0, 1), 0
	serving.ServerCert.CertDirectory, serving.ServerCert.PairName = pki, "router"
	ready, ended := make(chan string, 1), make(chan error, 1)
	config := router.Config{
		RCP: rcp, Serving: serving, ClientCAFile: ca, StateDir: filepath.Join(dir, "state"),
		Ready: func(url string) { ready <- url },
		// What is said is put into words, though nobody reads them.
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	for _, option := range options {
		option(&config)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- router.Run(ctx, config) }() // ended by stop
	stop := sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	select {
	case url := <-ready:
		serverCA, err := os.ReadFile(filepath.Join(pki, "router.crt"))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read the router's certificate: %w", err), stop())
		}
		access := rest.CopyConfig(rcp)
		access.Host, access.CAData = url, serverCA
		return &Router{Config: access, Stop: stop}, nil
	case err := <-ended:
		cancel()
		return nil, fmt.Errorf("the router ended before it was ready: %w", err)
	}
}
