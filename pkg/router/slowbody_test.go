package router

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// slowBodyLimit is the test's in the place of bodyTimeout.
const slowBodyLimit = 300 * time.Millisecond

// slowBodies is a server that reads bodies as the router does, and tells what came of each.
func slowBodies(t *testing.T) (address string, outcomes <-chan error) {
	t.Helper()
	read := make(chan error, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := readBodyWithin(w, r, slowBodyLimit)
		read <- err
		w.WriteHeader(http.StatusBadRequest)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), read
}

// TestABodyThatTricklesIsGivenUp: a byte now and then does not prolong the time for the whole.
func TestABodyThatTricklesIsGivenUp(t *testing.T) {
	address, outcomes := slowBodies(t)
	for _, protocol := range []string{"http/1.1", "h2"} {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}) //nolint:gosec // a server of this test
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		write := io.Writer(conn)
		if protocol == "h2" {
			write = beginStream(t, conn)
		} else if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		tick := time.NewTicker(slowBodyLimit / 10)
		var outcome error
	trickle:
		for {
			select {
			case outcome = <-outcomes:
				break trickle
			case <-tick.C:
				_, _ = write.Write([]byte("x")) // an error is the end that is waited for
			}
		}
		tick.Stop()
		if took := time.Since(began); !apierrors.IsBadRequest(outcome) || took < slowBodyLimit {
			t.Errorf("%s: after %s: %v; want it given up after %s", protocol, took, outcome, slowBodyLimit)
		}
		if protocol == "http/1.1" {
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusBadRequest {
				t.Errorf("the answer is %s", answer.Status)
			}
		}
		conn.Close()
	}
}

// streamBody writes DATA frames of one stream.
type streamBody struct{ framer *http2.Framer }

func (b streamBody) Write(p []byte) (int, error) { return len(p), b.framer.WriteData(1, false, p) }

// beginStream opens an HTTP/2 stream whose body is to follow.
func beginStream(t *testing.T, conn *tls.Conn) io.Writer {
	t.Helper()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headerBlock("POST", "/"), EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	return streamBody{framer}
}

func headerBlock(method, path string) []byte {
	var out headerBytes
	encoder := hpack.NewEncoder(&out)
	for _, field := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "x"}, {":path", path}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // into memory
	}
	return out
}

type headerBytes []byte

func (b *headerBytes) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
