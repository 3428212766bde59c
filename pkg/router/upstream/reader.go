package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// reader is a [http.RoundTripper] for requests that read, over HTTP/1.1. It writes the request and reads
// the answer in the goroutine that asks, where [http.Transport] hands both to goroutines of the connection:
// to wake those costs more than all else that a small read does. Reads may be sent twice, so that a kept
// connection that turns out to be closed is replaced without a word. What else there is to send (bodies,
// upgrades) goes to other.
type reader struct {
	other http.RoundTripper
	// connect makes a connection to the endpoint.
	connect func(ctx context.Context) (net.Conn, error)
	host    string

	mu   sync.Mutex // guards what follows
	idle []*link    // the one used last is at the end
}

// link is one connection.
type link struct {
	of   *reader
	conn net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
	// kept is since when the link is idle.
	kept time.Time
}

// RoundTrip sends a request that may be repeated itself, and any other by the other way.
func (t *reader) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Body != nil && r.Body != http.NoBody || r.Header.Get("Upgrade") != "" {
		return t.other.RoundTrip(r)
	}
	ctx := r.Context()
	for {
		l := t.take()
		used := l != nil
		if !used {
			conn, err := t.connect(ctx)
			if err != nil {
				return nil, err
			}
			l = &link{of: t, conn: conn, in: bufio.NewReaderSize(conn, bufferSize), out: bufio.NewWriterSize(conn, bufferSize)}
		}
		answer, err := l.ask(ctx, r)
		if err == nil {
			return answer, nil
		}
		// What closing a broken connection says is of no use to anybody.
		_ = l.conn.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !used || errors.Is(err, errUnsendable) {
			return nil, err
		}
	}
}

// ask sends one request and reads the head of its answer. The body gives the link back.
func (l *link) ask(ctx context.Context, r *http.Request) (*http.Response, error) {
	deadline, _ := ctx.Deadline() // the zero time is none
	if err := l.conn.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("set deadline: %w", err)
	}
	// A client that goes away ends what is done for it.
	release := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) })
	answer, err := l.exchange(r)
	if err != nil {
		release()
		return nil, err
	}
	answer.Body = &linkBody{ReadCloser: answer.Body, link: l, release: release, reusable: !answer.Close, ended: answer.Body == http.NoBody}
	return answer, nil
}

func (l *link) exchange(r *http.Request) (*http.Response, error) {
	if err := writeHead(l.out, l.of.host, r); err != nil {
		return nil, err
	}
	if err := l.out.Flush(); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	for {
		answer, err := http.ReadResponse(l.in, r)
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		if answer.StatusCode >= http.StatusOK {
			return answer, nil
		}
		// An informational answer precedes the real one.
	}
}

// linkBody is an answer's body, which gives the link back when it was read to its end.
type linkBody struct {
	io.ReadCloser
	link            *link
	release         func() bool
	reusable, ended bool
}

func (b *linkBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended = true
	}
	return n, err
}

// Close may be called twice.
func (b *linkBody) Close() error {
	l := b.link
	if l == nil {
		return nil
	}
	b.link = nil
	untouched := b.release()
	if !b.ended {
		// Of a body that is read by its length the end was not looked at.
		n, err := b.ReadCloser.Read(make([]byte, 1))
		b.ended = n == 0 && err == io.EOF && b.reusable
	}
	if !untouched || !b.reusable || !b.ended || l.in.Buffered() > 0 {
		return l.conn.Close()
	}
	l.of.keep(l)
	return nil
}

// take returns the link that was used last, nil where none is left that is new enough.
func (t *reader) take() *link {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.idle)
	if n == 0 {
		return nil
	}
	l := t.idle[n-1]
	if time.Since(l.kept) > idleTimeout {
		// All others are older.
		t.drop(n)
		return nil
	}
	t.idle[n-1] = nil
	t.idle = t.idle[:n-1]
	return l
}

func (t *reader) keep(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	l.kept = now
	old := 0
	for old < len(t.idle) && (now.Sub(t.idle[old].kept) > idleTimeout || len(t.idle)-old >= maxIdle) {
		old++
	}
	t.drop(old)
	t.idle = append(t.idle, l)
}

// drop closes the n oldest links. The lock is held.
func (t *reader) drop(n int) {
	if n == 0 {
		return
	}
	for _, l := range t.idle[:n] {
		// What closing an idle connection says is of no use to anybody.
		_ = l.conn.Close()
	}
	kept := copy(t.idle, t.idle[n:])
	clear(t.idle[kept:])
	t.idle = t.idle[:kept]
}

// CloseIdleConnections is what [http.Client] looks for.
func (t *reader) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(len(t.idle))
}

// errUnsendable is returned for a request that would not arrive as what it is.
var errUnsendable = errors.New("it cannot be written as HTTP/1.1")

// writeHead writes request line and headers. Line ends in them would begin other headers, or requests.
func writeHead(out *bufio.Writer, host string, r *http.Request) error {
	uri := r.URL.RequestURI()
	if !clean(uri, ' '+1) {
		return fmt.Errorf("path %.60q: %w", uri, errUnsendable)
	}
	for name, values := range r.Header {
		if !cleanName(name) {
			return fmt.Errorf("header %.60q: %w", name, errUnsendable)
		}
		for _, value := range values {
			if !clean(value, ' ') {
				return fmt.Errorf("value of header %s: %w", name, errUnsendable)
			}
		}
	}
	// Errors of a bufio.Writer stay until its Flush.
	write := func(parts ...string) {
		for _, part := range parts {
			_, _ = out.WriteString(part)
		}
	}
	write(r.Method, " ", uri, " HTTP/1.1\r\nHost: ", host, "\r\n")
	for name, values := range r.Header {
		for _, value := range values {
			write(name, ": ", value, "\r\n")
		}
	}
	write("\r\n")
	return nil
}

// clean says whether s has no control characters but tabs, and none below lowest.
func clean(s string, lowest byte) bool {
	for i := range len(s) {
		if c := s[i]; c < lowest && (c != '\t' || lowest > ' ') || c == 0x7f {
			return false
		}
	}
	return true
}

func cleanName(s string) bool {
	for i := range len(s) {
		if !tokenByte(s[i]) && s[i] != '%' {
			return false
		}
	}
	return s != ""
}
