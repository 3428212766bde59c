package router_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

// executors are client-go's two ways to run a command in a pod.
func executors() map[string]func(config *rest.Config, url *url.URL) (remotecommand.Executor, error) {
	return map[string]func(config *rest.Config, url *url.URL) (remotecommand.Executor, error){
		"SPDY": func(config *rest.Config, url *url.URL) (remotecommand.Executor, error) {
			return remotecommand.NewSPDYExecutor(config, http.MethodPost, url)
		},
		"WebSocket": func(config *rest.Config, url *url.URL) (remotecommand.Executor, error) {
			return remotecommand.NewWebSocketExecutor(config, http.MethodGet, url.String())
		},
	}
}

// streamURL is where kubectl goes for a subresource of a pod.
func streamURL(t *testing.T, config *rest.Config, pod *corev1.Pod, subresource string, options runtime.Object) *url.URL {
	t.Helper()
	request := kube(t, config).CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource(subresource)
	if options != nil {
		request = request.VersionedParams(options, scheme.ParameterCodec)
	}
	return request.URL()
}

// TestCommandsInPods runs them by client-go's own clients, through the router and a cell, in a pod whose cell
// the router has to find.
func TestCommandsInPods(t *testing.T) {
	b := newBed(t)
	pod := b.podOn(t, newKubelet(t), b.namespace(t, "commands"))
	// More than fits into any buffer on the way.
	long := strings.Repeat("all work and no play\n", 50_000)
	tests := map[string]struct {
		subresource string
		options     runtime.Object
		in          string
		terminal    *remotecommand.TerminalSize
		out, errOut string
		code        int
	}{
		"input, output and errors": {
			subresource: "exec", options: &corev1.PodExecOptions{Command: []string{"cat"}, Stdin: true, Stdout: true, Stderr: true},
			in: long, out: long, errOut: "copying\n",
		},
		"an exit code": {
			subresource: "exec", options: &corev1.PodExecOptions{Command: []string{"exit", "7"}, Stdout: true, Stderr: true}, code: 7,
		},
		"the size of a terminal": {
			subresource: "exec", options: &corev1.PodExecOptions{Command: []string{"size"}, Stdin: true, Stdout: true, TTY: true},
			terminal: &remotecommand.TerminalSize{Width: 132, Height: 43}, out: "terminal true: 132x43\n",
		},
		"attach": {
			subresource: "attach", options: &corev1.PodAttachOptions{Stdin: true, Stdout: true, Stderr: true}, in: "hello\n", out: "hello\n",
		},
	}
	for protocol, newExecutor := range executors() {
		for name, test := range tests {
			t.Run(protocol+"/"+name, func(t *testing.T) {
				executor, err := newExecutor(b.router, streamURL(t, b.router, pod, test.subresource, test.options))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), pollTimeout)
				defer cancel()
				var out, errOut bytes.Buffer
				got := &received{missing: len(test.out) + len(test.errOut), complete: make(chan struct{})}
				streams := remotecommand.StreamOptions{
					Stdout: io.MultiWriter(&out, got), Stderr: io.MultiWriter(&errOut, got), Tty: test.terminal != nil,
				}
				if test.in != "" || test.terminal != nil {
					streams.Stdin = io.MultiReader(strings.NewReader(test.in), &ending{ctx, got.complete})
				}
				if test.terminal != nil {
					streams.Stderr, streams.TerminalSizeQueue = nil, &sizes{test.terminal}
				}
				err = executor.StreamWithContext(ctx, streams)
				var ended exec.CodeExitError
				if errors.As(err, &ended) != (test.code != 0) || ended.Code != test.code || err != nil && test.code == 0 {
					t.Errorf("ended with %v; want exit code %d", err, test.code)
				}
				if out.String() != test.out || errOut.String() != test.errOut {
					t.Errorf("output %d bytes %.80q, errors %.80q; want %d bytes %.80q, errors %.80q",
						out.Len(), &out, &errOut, len(test.out), test.out, test.errOut)
				}
			})
		}
	}
}

// received say when all output has come.
type received struct {
	mu       sync.Mutex
	missing  int // guarded by mu
	complete chan struct{}
}

func (a *received) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.missing > 0 && a.missing <= len(p) {
		close(a.complete)
	}
	a.missing -= len(p)
	return len(p), nil
}

// ending is an input that ends once all output has come: client-go's streams over SPDY may drop what arrives together
// with the end of the connection, whoever is in between.
type ending struct {
	ctx      context.Context
	complete <-chan struct{}
}

func (e *ending) Read([]byte) (int, error) {
	select {
	case <-e.complete:
		return 0, io.EOF
	case <-e.ctx.Done():
		return 0, e.ctx.Err()
	}
}

// sizes are those that a terminal takes, one after the other.
type sizes []*remotecommand.TerminalSize

// Next implements [remotecommand.TerminalSizeQueue].
func (s *sizes) Next() *remotecommand.TerminalSize {
	if len(*s) == 0 {
		return nil
	}
	next := (*s)[0]
	*s = (*s)[1:]
	return next
}

// TestPortsOfPods forwards one by both of client-go's dialers, for two connections at the same time.
func TestPortsOfPods(t *testing.T) {
	b := newBed(t)
	pod := b.podOn(t, newKubelet(t), b.namespace(t, "ports"))
	to := streamURL(t, b.router, pod, "portforward", nil)
	dialers := map[string]func() (httpstream.Dialer, error){
		"SPDY": func() (httpstream.Dialer, error) {
			transport, upgrader, err := spdy.RoundTripperFor(b.router)
			if err != nil {
				return nil, err
			}
			return spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, to), nil
		},
		"WebSocket": func() (httpstream.Dialer, error) {
			return portforward.NewSPDYOverWebsocketDialerForStreaming(to, b.router)
		},
	}
	for protocol, newDialer := range dialers {
		t.Run(protocol, func(t *testing.T) {
			dialer, err := newDialer()
			if err != nil {
				t.Fatal(err)
			}
			stop, ready := make(chan struct{}), make(chan struct{})
			forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- forwarder.ForwardPorts() }()
			select {
			case <-ready:
			case err := <-ended:
				t.Fatalf("ended before it was ready: %v", err)
			}
			ports, err := forwarder.GetPorts()
			if err != nil {
				t.Fatal(err)
			}
			first, second := dialPort(t, ports[0].Local), dialPort(t, ports[0].Local)
			first.wantEcho(t, "hello\n")
			second.wantEcho(t, "you there\n")
			first.wantEcho(t, "bye\n")
			close(stop)
			if err := <-ended; err != nil {
				t.Errorf("forwarding ended: %v", err)
			}
		})
	}
}

// forwarded is a connection to a port of a pod.
type forwarded struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialPort(t *testing.T, port uint16) *forwarded {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	f := &forwarded{conn: conn, in: bufio.NewReader(conn)}
	f.wantLine(t, "port 8080\n")
	return f
}

func (f *forwarded) wantEcho(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(f.conn, line); err != nil {
		t.Fatal(err)
	}
	f.wantLine(t, line)
}

func (f *forwarded) wantLine(t *testing.T, want string) {
	t.Helper()
	if got, err := f.in.ReadString('\n'); err != nil || got != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// TestLogsOfPods: each line that is followed comes when it is written.
func TestLogsOfPods(t *testing.T) {
	b := newBed(t)
	k := newKubelet(t)
	pod := b.podOn(t, k, b.namespace(t, "logs"))
	pods := kube(t, b.router).CoreV1().Pods(pod.Namespace)
	all, err := pods.GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("one\n", string(all)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithTimeout(t.Context(), pollTimeout)
	defer cancel()
	followed, err := pods.GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer followed.Close()
	lines := bufio.NewReader(followed)
	if line, err := lines.ReadString('\n'); err != nil || line != "one\n" {
		t.Fatalf("first line %q, %v", line, err)
	}
	close(k.more)
	close(k.end)
	if rest, err := io.ReadAll(lines); err != nil || string(rest) != "two\n" {
		t.Errorf("the rest is %q, %v", rest, err)
	}
}

// TestALogOverWebSocket is followed line by line, as browsers do.
func TestALogOverWebSocket(t *testing.T) {
	b := newBed(t)
	k := newKubelet(t)
	pod := b.podOn(t, k, b.namespace(t, "socket-logs"))
	ws := dialSocket(t, b.router, "/api/v1/namespaces/"+pod.Namespace+"/pods/"+pod.Name+"/log?follow=true", "binary.k8s.io")
	lines := bufio.NewReader(ws)
	if line, err := lines.ReadString('\n'); err != nil || line != "one\n" {
		t.Fatalf("first line %q, %v", line, err)
	}
	close(k.more)
	// It ends only now: an apiserver drops what arrives together with the end.
	if line, err := lines.ReadString('\n'); err != nil || line != "two\n" {
		t.Fatalf("second line %q, %v", line, err)
	}
	close(k.end)
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("then %q, %v; want the end", rest, err)
	}
}
