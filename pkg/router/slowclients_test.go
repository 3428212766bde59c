package router_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

const (
	// idleConnections are how many are opened, by a process of its own: its ends are none of the router's.
	idleConnections = 10_000
	// idleSecure are how many of them have agreed on TLS.
	idleSecure = 1_000
	// perConnection is what one may cost the router, in bytes.
	perConnection = 32 << 10
	// headerTimeout is the apiserver's own for a client that does not come to the end of its headers.
	headerTimeout = 32 * time.Second
)

// idleEnv asks this binary for idle connections to the address in it.
const idleEnv = "KUBECELL_TEST_IDLE"

// manyDescriptors raises the limit of open files as far as it goes, for the rest of the process.
func manyDescriptors() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// idle opens connections that say nothing, says when they are open, and returns when the other side has closed all.
func idle(address string) error {
	if err := manyDescriptors(); err != nil {
		return err
	}
	conns := make([]net.Conn, idleConnections)
	group := errgroup.Group{}
	group.SetLimit(8)
	for i := range conns {
		group.Go(func() (err error) {
			if i < idleSecure {
				conns[i], err = tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) // it says nothing to it
			} else {
				conns[i], err = net.Dial("tcp", address)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	fmt.Println("open")
	for i, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(2 * headerTimeout)); err != nil {
			return err
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("connection %d is open: %w", i, err)
		}
	}
	return nil
}

// openIdle has another process open idle connections to the router, and returns when they are open. The channel has how
// it ended, once all of them are closed.
func openIdle(t *testing.T, config *rest.Config) <-chan error {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), idleEnv+"="+strings.TrimPrefix(config.Host, "https://"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the connections are not open: %q, %v", line, cmd.Wait())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, unless the test has failed
	return ended
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
	if err := manyDescriptors(); err != nil {
		t.Fatal(err)
	}
	b := newBed(t)
	ns := b.namespace(t, "idle")
	names := b.oneOfEach(t, ns)
	maps := kube(t, b.router).CoreV1().ConfigMaps(ns)
	for _, name := range names { // whatever a router makes once is made
		if _, err := maps.Get(t.Context(), name, getOptions()); err != nil {
			t.Fatal(err)
		}
	}
	before, goroutines, files := memoryInUse(), runtime.NumGoroutine(), openFiles(t)

	closed := openIdle(t, b.router)
	began := time.Now()
	var trickling sync.WaitGroup
	for i := range 20 {
		conn := dialTLS(t, b.router)
		trickling.Go(func() { trickle(t, conn, i) })
	}
	if open := openFiles(t) - files; open < idleConnections {
		t.Errorf("%d connections are open; want %d", open, idleConnections)
	}
	if after := memoryInUse(); after > before+idleConnections*perConnection {
		t.Errorf("they cost %d KiB each; want less than %d", (after-before)/idleConnections>>10, perConnection>>10)
	}
	calm(t, maps, names, began.Add(headerTimeout-time.Second))
	trickling.Wait()
	if took := time.Since(began); took < headerTimeout || took > 2*headerTimeout {
		t.Errorf("headers that trickle were waited for for %s; an apiserver waits %s", took, headerTimeout)
	}
	if err := <-closed; err != nil {
		t.Errorf("connections that say nothing: %v", err)
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

func dialH2(t *testing.T, config *rest.Config, method, path string) *h2 {
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
		{":method", method}, {":scheme", "https"}, {":authority", "x"}, {":path", path}, {"content-type", "application/json"},
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
	c := dialH2(t, b.router, http.MethodPost, "/api/v1/namespaces/"+ns+"/configmaps")
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
		c := dialH2(t, b.router, http.MethodPost, "/api/v1/namespaces/"+ns+"/configmaps")
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
	most, stacks := 0, strings.Builder{}
	done := make(chan struct{})
	go func() { flooding.Wait(); close(done) }()
watch:
	for {
		most = max(most, runtime.NumGoroutine())
		if most > goroutines+connections*perConnection && stacks.Len() == 0 {
			if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-done:
			break watch
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Logf("at most %d goroutines, %d before", most, goroutines)
	if most > goroutines+connections*perConnection {
		t.Errorf("%d goroutines ran for %d resets; before there were %d. The commonest of them:\n%.4000s",
			most, connections*resets, goroutines, stacks.String())
	}
	calm(t, maps, names, time.Now().Add(time.Second))
	nothingLeft(t, goroutines, files)
}
