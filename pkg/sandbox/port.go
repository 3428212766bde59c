package sandbox

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// Ports are drawn from below the range from which kernels take the local ports of outgoing
// connections: one from there could be in use when the sandbox comes up again; and from others than control planes draw
// theirs from.
const (
	firstPort    = 15000
	lastPort     = 19999
	portAttempts = 500
)

// drawPort returns a free port that none of taken is.
func drawPort(taken map[string]int) (int, error) {
	inUse := slices.Collect(maps.Values(taken))
	for range portAttempts {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if !slices.Contains(inUse, port) && portFree(port) {
			return port, nil
		}
	}
	return 0, exit.Errorf(exit.Failure, "no free port found from %d to %d on %s", firstPort, lastPort, Loopback).
		WithHint("kubectl cell sandbox down --all ; ss -tlnp")
}

// ensurePort gives the part that does not run a port: the one that it has had, if that is free. The
// result is true when it had another one.
func (b *box) ensurePort(part string) (bool, error) {
	had := b.Ports[part]
	if had != 0 && portFree(had) {
		return false, nil
	}
	port, err := drawPort(b.Ports)
	if err != nil {
		return false, err
	}
	b.Ports[part] = port
	if had != 0 {
		b.m.tell(part, Note, fmt.Sprintf("port %d is in use by another program, taking %d", had, port))
	}
	return had != 0, nil
}
