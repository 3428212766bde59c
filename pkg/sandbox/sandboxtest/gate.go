package sandboxtest

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Gate stands in front of a control plane, on the level of TCP, and makes it look slow, hung or gone. The
// certificate stays that of the control plane.
type Gate struct {
	address string
	target  string
	running sync.WaitGroup
	ctx     context.Context // ends with the test

	mu     sync.Mutex // guards what follows
	opened *sync.Cond // of a change of what follows
	hung   bool
	gone   bool
	closed bool
	delay  time.Duration
	// listener is nil while the gate has vanished.
	listener net.Listener
	count    int
	conns    map[net.Conn]struct{}
}

// NewGate opens a gate to the server of a URL, until the test ends. It passes everything at first.
func NewGate(t testing.TB, server string) *Gate {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{ctx: t.Context(), listener: listener, address: listener.Addr().String(), target: target.Host, conns: map[net.Conn]struct{}{}}
	g.opened = sync.NewCond(&g.mu)
	g.running.Go(func() { g.accept(listener) })
	t.Cleanup(g.close)
	return g
}

// URL is where to connect to.
func (g *Gate) URL() string { return "https://" + g.address }

// Accepted is how many connections have come through.
func (g *Gate) Accepted() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}

// Hang accepts connections from now on and keeps them and all others, but passes nothing on.
func (g *Gate) Hang() { g.set(true, false) }

// Slow lets whatever passes, in either direction, wait for so long first; 0 ends that.
func (g *Gate) Slow(delay time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delay = delay
}

// Refuse breaks off all connections, and new ones at once.
func (g *Gate) Refuse() { g.set(false, true) }

// Vanish breaks off all connections, and has new ones refused by the kernel, as after the end of a process.
func (g *Gate) Vanish() {
	g.set(false, true)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != nil {
		_ = g.listener.Close() // it listens to nothing but this test
		g.listener = nil
	}
}

// Pass passes everything on again, also what has come meanwhile.
func (g *Gate) Pass() {
	g.appear()
	g.set(false, false)
}

// appear listens again where the gate has vanished. Should the port be taken meanwhile, the test fails for want of it.
func (g *Gate) appear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != nil || g.closed {
		return
	}
	listener, err := net.Listen("tcp", g.address)
	if err != nil {
		return
	}
	g.listener = listener
	g.running.Go(func() { g.accept(listener) })
}

func (g *Gate) set(hung, gone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hung, g.gone = hung, gone
	if gone {
		g.breakOff()
	}
	g.opened.Broadcast()
}

// breakOff closes all connections. The lock is held.
func (g *Gate) breakOff() {
	for conn := range g.conns {
		_ = conn.Close() // to break it is all that is wanted
	}
	clear(g.conns)
}

func (g *Gate) close() {
	g.mu.Lock()
	g.closed = true
	g.breakOff()
	g.opened.Broadcast()
	if g.listener != nil {
		_ = g.listener.Close() // it listens to nothing but this test
	}
	g.mu.Unlock()
	g.running.Wait()
}

func (g *Gate) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		g.running.Go(func() { g.serve(conn) })
	}
}

func (g *Gate) serve(client net.Conn) {
	if !g.add(client) {
		return
	}
	g.mu.Lock()
	g.count++
	g.mu.Unlock()
	server, err := (&net.Dialer{}).DialContext(g.ctx, "tcp", g.target)
	if err != nil {
		_ = client.Close() // the control plane behind is gone
		return
	}
	if !g.add(server) {
		_ = client.Close() // the gate was shut meanwhile
		return
	}
	var both sync.WaitGroup
	both.Go(func() { g.pump(server, client) })
	both.Go(func() { g.pump(client, server) })
	both.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, client)
	delete(g.conns, server)
}

// add keeps a connection to be broken off later, or breaks it off at once.
func (g *Gate) add(conn net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone || g.closed {
		_ = conn.Close() // to break it is all that is wanted
		return false
	}
	g.conns[conn] = struct{}{}
	return true
}

func (g *Gate) pump(to, from net.Conn) {
	// Errors are one side going away; the other is told by closing.
	defer func() { _ = to.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		g.mu.Lock()
		for g.hung && !g.closed {
			g.opened.Wait()
		}
		delay := g.delay
		g.mu.Unlock()
		if delay > 0 {
			select {
			case <-time.After(delay):
			case <-g.ctx.Done():
			}
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = from.Close() // it has ended already
			return
		}
	}
}
