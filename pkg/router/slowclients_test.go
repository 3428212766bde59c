package router_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"k8s.io/apimachinery/pkg/util/wait"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

const (
	// idleConnections are as many as the machine allows, up to ten thousand: each is two descriptors, since both of
	// its ends are in this process.
	idleConnections = 10_000
	// perConnection is what one may cost, both ends together, in bytes.
	perConnection = 32 << 10
	// headerTimeout is the apiserver's own for a client that does not come to the end of its headers.
	headerTimeout = 32 * time.Second
	// otherDescriptors are for everything else.
	otherDescriptors = 1000
)

// manyDescriptors raises the limit of open files as far as it goes, until the test ends, and returns how many
// connections can be had.
func manyDescriptors(t *testing.T) int {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	raised := before
	raised.Cur = raised.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before) }) // the process ends soon
	return min(idleConnections, int(min(raised.Max, 1<<20)-otherDescriptors)/2)
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func memoryInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// TestSlowClientsHoldUpNobody opens ten thousand connections that say nothing, and some that say it slowly. They cost
// little, are ended as an apiserver ends them, nobody else notices, and nothing is left of them.
func TestSlowClientsHoldUpNobody(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "idle")
	names := b.oneOfEach(t, ns)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	idle, slow := manyDescriptors(t), 20
	for _, name := range names { // whatever a router makes once is made
		if _, err := maps.Get(t.Context(), name, getOptions()); err != nil {
			t.Fatal(err)
		}
	}
	before, goroutines, files := memoryInUse(), runtime.NumGoroutine(), openFiles(t)

	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	began := time.Now()
	for range idle {
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.router.Host, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	var trickling sync.WaitGroup
	for i := range slow {
		conn := dialTLS(t, b.router)
		conns = append(conns, conn)
		trickling.Go(func() { trickle(t, conn, i) })
	}
	if after := memoryInUse(); after > before+uint64(idle)*perConnection {
		t.Errorf("%d connections cost %d KiB each; want less than %d", idle, (after-before)/uint64(idle)>>10, perConnection>>10)
	}
	calm(t, maps, names, began.Add(headerTimeout-time.Second))
	trickling.Wait()
	if took := time.Since(began); took < headerTimeout || took > 2*headerTimeout {
		t.Errorf("headers that trickle were waited for for %s; an apiserver waits %s", took, headerTimeout)
	}
	for _, conn := range conns[:idle] {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a connection without a handshake is open after %s: %v", time.Since(began), err)
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	nothingLeft(t, goroutines, files)
}

// trickle sends headers byte by byte until the router has had enough.
func trickle(t *testing.T, conn *tls.Conn, i int) {
	start := "GET /api HTTP/1.1\r\nHost: x\r\nX-Slow: "
	if i%2 == 1 { // after a request that was whole
		start = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" + start
	}
	if _, err := io.WriteString(conn, start); err != nil {
		t.Error(err)
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = conn.SetReadDeadline(time.Now().Add(2 * headerTimeout))
		_, _ = io.Copy(io.Discard, conn) // to its end, whichever
	}()
	for {
		select {
		case <-ended:
			return
		case <-time.After(200 * time.Millisecond):
		}
		_, _ = io.WriteString(conn, "x") // the reader notices the end
	}
}

// calm reads objects of all cells until then, each in good time.
func calm(t *testing.T, maps typedcorev1.ConfigMapInterface, names map[string]string, until time.Time) {
	t.Helper()
	for time.Now().Before(until) {
		for _, name := range names {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := maps.Get(ctx, name, getOptions())
			cancel()
			if err != nil {
				t.Errorf("another client: %v", err)
				return
			}
		}
		select {
		case <-t.Context().Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// nothingLeft waits until no more goroutines run and files are open than before, but for a few that come and go.
func nothingLeft(t *testing.T, goroutines, files int) {
	t.Helper()
	const few = 40
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return runtime.NumGoroutine() <= goroutines+few && openFiles(t) <= files+few, nil
	})
	if err != nil {
		t.Errorf("%d goroutines and %d files are left; before there were %d and %d", runtime.NumGoroutine(), openFiles(t), goroutines, files)
	}
}

// h2 is a connection for HTTP/2 as the administrator, frame by frame.
type h2 struct {
	*http2.Framer
	conn    *tls.Conn
	headers []byte
}

func dialH2(t *testing.T, config *rest.Config, path string) *h2 {
	t.Helper()
	conn := dialProtocol(t, config, "h2")
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c := &h2{Framer: http2.NewFramer(conn, conn), conn: conn}
	if err := c.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var block strings.Builder
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "https"}, {":authority", "x"}, {":path", path}, {"content-type", "application/json"},
	} {
		// Never indexed, so that one block serves all streams.
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true}); err != nil {
			t.Fatal(err)
		}
	}
	c.headers = []byte(block.String())
	return c
}

// open begins the stream of a request whose body never ends.
func (c *h2) open(stream uint32) error {
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.headers, EndHeaders: true})
}

// TestStreamsAreBounded opens more on one connection than the router allows: those are refused, the others stay.
func TestStreamsAreBounded(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "streams")
	c := dialH2(t, b.router, "/api/v1/namespaces/"+ns+"/configmaps")
	const allowed, more = 100, 5 // an apiserver allows as many
	settings, refused := uint32(0), map[uint32]http2.ErrCode{}
	for i := range uint32(allowed + more) {
		if err := c.open(2*i + 1); err != nil {
			t.Fatal(err)
		}
	}
	for settings == 0 || len(refused) < more {
		frame, err := c.ReadFrame()
		if err != nil {
			t.Fatalf("%d streams are refused, settings allow %d: %v", len(refused), settings, err)
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if value, ok := f.Value(http2.SettingMaxConcurrentStreams); ok {
				settings = value
			}
		case *http2.RSTStreamFrame:
			refused[f.StreamID] = f.ErrCode
		case *http2.GoAwayFrame:
			t.Fatalf("the connection is ended: %v", f)
		}
	}
	if settings != allowed {
		t.Errorf("settings allow %d streams; want %d", settings, allowed)
	}
	for stream, code := range refused {
		if stream <= 2*allowed || code != http2.ErrCodeRefusedStream && code != http2.ErrCodeProtocol {
			t.Errorf("stream %d is refused by %v", stream, code)
		}
	}
}

// TestRapidResetsCostLittle: requests that are begun and given up at once, as many as can be sent, neither pile up
// nor disturb others.
func TestRapidResetsCostLittle(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "resets")
	names := b.oneOfEach(t, ns)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	const resets, connections, perConnection = 5000, 4, 1000
	var flooding sync.WaitGroup
	for range connections {
		c := dialH2(t, b.router, "/api/v1/namespaces/"+ns+"/configmaps")
		flooding.Go(func() { // reads, so that answers and the end are taken
			for {
				if _, err := c.ReadFrame(); err != nil {
					return
				}
			}
		})
		flooding.Go(func() {
			defer c.conn.Close()
			for i := range uint32(resets) {
				if c.open(2*i+1) != nil || c.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
					return // the router has had enough
				}
			}
		})
	}
	most := 0
	done := make(chan struct{})
	go func() { flooding.Wait(); close(done) }()
watch:
	for {
		most = max(most, runtime.NumGoroutine())
		select {
		case <-done:
			break watch
		case <-time.After(5 * time.Millisecond):
		}
	}
	if most > goroutines+connections*perConnection {
		t.Errorf("%d goroutines ran for %d resets; before there were %d", most, connections*resets, goroutines)
	}
	calm(t, maps, names, time.Now().Add(time.Second))
	nothingLeft(t, goroutines, files)
}
