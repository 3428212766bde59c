// Package listen owns the choice of the apiserver's port and its memory across restarts.
//
// The listener is opened here and handed over open, so that nothing can take the port between its
// choice and its use. A port that was chosen once is kept: kubeconfigs and Cell objects name it.
package listen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"strconv"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
)

// Ports are chosen below the range from which kernels take the local ports of outgoing connections
// (from 32768 on Linux, 49152 on macOS): one from that range may be in use when a control plane restarts.
const (
	firstPort = 20000
	lastPort  = 29999
	attempts  = 200
)

type memory struct {
	APIServer int `json:"apiserver"`
}

// Open listens on host and port and writes the port to the file. Port 0 means the port in the file,
// or a free one when there is none.
func Open(ctx context.Context, host string, port int, file string) (*net.TCPListener, error) {
	remembered, err := read(file)
	if err != nil {
		return nil, err
	}
	var ln *net.TCPListener
	switch {
	case port != 0:
		if ln, err = bind(ctx, host, port); err != nil {
			return nil, fault.New(fmt.Errorf("port %d cannot be used: %w", port, err),
				"choose another --port, or 0 for a free one")
		}
	case remembered != 0:
		if ln, err = bind(ctx, host, remembered); err != nil {
			return nil, fault.New(fmt.Errorf("port %d, which this control plane has used so far, cannot be used: %w", remembered, err),
				"end the process that uses it, or choose another --port; kubeconfigs are rewritten")
		}
	default:
		if ln, err = free(ctx, host); err != nil {
			return nil, err
		}
	}
	if err := write(file, ln.Addr().(*net.TCPAddr).Port); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

func free(ctx context.Context, host string) (*net.TCPListener, error) {
	var last error
	for range attempts {
		ln, err := bind(ctx, host, firstPort+rand.IntN(lastPort-firstPort+1))
		if err == nil {
			return ln, nil
		}
		last = err
	}
	return nil, fault.New(fmt.Errorf("no free port found from %d to %d: %w", firstPort, lastPort, last),
		"choose one with --port, and check that --bind is an address of this machine")
}

func bind(ctx context.Context, host string, port int) (*net.TCPListener, error) {
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

func read(file string) (int, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading remembered port: %w", err)
	}
	var m memory
	if err := json.Unmarshal(data, &m); err != nil || m.APIServer < 1 || m.APIServer > 65535 {
		return 0, fault.New(fmt.Errorf("file %s does not hold a port", file),
			"remove the file to have a free port chosen")
	}
	return m.APIServer, nil
}

func write(file string, port int) error {
	data, err := json.Marshal(memory{APIServer: port})
	if err != nil {
		return fmt.Errorf("remembering port: %w", err)
	}
	return layout.WriteFile(file, append(data, '\n'), 0o600)
}
