package sandboxtest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports that are listened on more than once are from below the range from which kernels take the local ports of outgoing
// connections, and from others than those of sandboxes and control planes.
const (
	firstPort    = 10000
	lastPort     = 14999
	portAttempts = 500
)

// Listen listens on a port of the loopback address on which one can listen again later: no connection takes it meanwhile.
func Listen() (net.Listener, error) {
	var errs []error
	for range portAttempts {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return listener, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// FreePort is one at which nobody listens on loopback, as of [Listen].
func FreePort() (string, error) {
	listener, err := Listen()
	if err != nil {
		return "", err
	}
	if err := listener.Close(); err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}
