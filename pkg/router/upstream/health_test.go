package upstream

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// apiserver answers probes with growing versions, and everything else with what it was asked.
func apiserver(t *testing.T) *httptest.Server {
	t.Helper()
	var revision atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, probePath) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"metadata":{"resourceVersion":"%d"},"items":[]}`, revision.Add(10))
			return
		}
		if strings.HasSuffix(r.URL.Path, "/slow") {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// planeOf is the way to a control plane with these endpoints, whose certificate is that of server.
func planeOf(t *testing.T, server *httptest.Server, endpoints ...string) *ControlPlane {
	t.Helper()
	config := &rest.Config{Host: server.URL}
	config.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	c, err := New("cell-1", config, endpoints, func(w http.ResponseWriter, _ *http.Request, source string, err error) {
		http.Error(w, source+": "+err.Error(), http.StatusServiceUnavailable)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	holds := func(context.Context) (bool, error) { return condition(), nil }
	if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 20*time.Second, true, holds); err != nil {
		t.Fatalf("never: %s", what)
	}
}

func ask(c *ControlPlane, method, path, body string) (int, string, error) {
	r := requestAs("alice")
	r.Method, r.URL.Path, r.URL.RawQuery = method, path, ""
	changes := Changes{}
	if body != "" {
		changes.Body = []byte(body)
	}
	answer, err := c.Send(r, changes)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(data), err
}

// TestWithOneOfTwoEndpointsGoneNoRequestFails begins before anybody knows that one is gone.
func TestWithOneOfTwoEndpointsGoneNoRequestFails(t *testing.T) {
	server := apiserver(t)
	gone, there := sandboxtest.NewGate(t, server.URL), sandboxtest.NewGate(t, server.URL)
	gone.Refuse()
	c := planeOf(t, server, gone.URL(), there.URL())
	var running sync.WaitGroup
	for i := range 8 {
		running.Go(func() {
			for j := range 25 {
				method := []string{http.MethodGet, http.MethodPost, http.MethodPut}[(i+j)%3]
				body := map[string]string{http.MethodPost: "created", http.MethodPut: "put"}[method]
				code, got, err := ask(c, method, "/x", body)
				if want := method + " /x " + body; err != nil || code != http.StatusOK || got != want {
					t.Errorf("%s: %d %q, %v; want %q", method, code, got, err, want)
				}
			}
		})
	}
	running.Wait()
	if c.Down() != nil {
		t.Errorf("the control plane counts as down: %v", c.Down())
	}
	gone.Pass()
	eventually(t, "the endpoint is used again", func() bool { return !c.endpoints[0].down.Load() })
}

// TestReadsInFlightGoOnElsewhere hangs an endpoint while it is asked.
func TestReadsInFlightGoOnElsewhere(t *testing.T) {
	server := apiserver(t)
	hangs, there := sandboxtest.NewGate(t, server.URL), sandboxtest.NewGate(t, server.URL)
	c := planeOf(t, server, hangs.URL(), there.URL())
	hangs.Hang()
	for range 4 {
		if code, _, err := ask(c, http.MethodGet, "/x", ""); err != nil || code != http.StatusOK {
			t.Errorf("get: %d, %v", code, err)
		}
	}
}

// TestAHungControlPlaneIsGivenUp and taken back when it answers.
func TestAHungControlPlaneIsGivenUp(t *testing.T) {
	server := apiserver(t)
	gate := sandboxtest.NewGate(t, server.URL)
	c := planeOf(t, server, gate.URL())
	eventually(t, "positions are known", func() bool { return len(c.Sampled()) > 1 })
	samples := c.Sampled()
	if a, b := samples[0], samples[1]; a.Raw <= 0 || b.Raw <= a.Raw || b.Started.Before(a.Done) || a.Done.Before(a.Started) {
		t.Errorf("positions %+v; want growing ones", samples)
	}
	stream := requestAs("alice")
	stream.URL.Path, stream.URL.RawQuery = "/api/v1/pods/slow", "watch=1"
	answer, err := c.Send(stream, Changes{})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.ProtoMajor != 2 {
		t.Errorf("a watch came by HTTP/%d; want 2", answer.ProtoMajor)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} { // and their connections are kept
		if _, _, err := ask(c, method, "/x", ""); err != nil {
			t.Fatal(err)
		}
	}
	gate.Hang()
	var down *DownError
	var running sync.WaitGroup
	running.Go(func() {
		if _, _, err := ask(c, http.MethodPost, "/x", "y"); err == nil || NotSent(err) || !strings.Contains(err.Error(), "given up") {
			t.Errorf("a write in flight: %v; want that it was cut off, and may have been done", err)
		}
	})
	if _, _, err := ask(c, http.MethodGet, "/x", ""); !errors.As(err, &down) {
		t.Errorf("a read in flight: %v; want it to be cut off because the control plane is given up", err)
	}
	running.Wait()
	if _, err := io.ReadAll(answer.Body); err == nil {
		t.Error("a watch in flight ended as if it was complete")
	}
	start := time.Now()
	if _, _, err := ask(c, http.MethodGet, "/x", ""); !errors.As(err, &down) || !NotSent(err) {
		t.Errorf("get: %v; want a refusal at once", err)
	}
	if took := time.Since(start); took > 3*time.Second { // one that hangs takes six
		t.Errorf("the refusal took %s", took)
	}
	gate.Pass()
	eventually(t, "it is taken back", func() bool { return c.Down() == nil })
	if code, _, err := ask(c, http.MethodPost, "/x", "y"); err != nil || code != http.StatusOK {
		t.Errorf("afterwards: %d, %v", code, err)
	}
}

// TestAWrongCertificateIsSaid in the error, and nothing is sent.
func TestAWrongCertificateIsSaid(t *testing.T) {
	server := apiserver(t)
	gate := sandboxtest.NewGate(t, server.URL)
	c := planeOf(t, server, strings.Replace(gate.URL(), "127.0.0.1", "localhost", 1))
	_, _, err := ask(c, http.MethodPost, "/x", "y")
	if err == nil || !NotSent(err) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("post: %v; want an error that says what is wrong with the certificate", err)
	}
}

// TestNothingIsLeftBehind by a control plane that was used and closed.
func TestNothingIsLeftBehind(t *testing.T) {
	server := apiserver(t)
	before := goleak.IgnoreCurrent()
	c := planeOf(t, server)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if _, _, err := ask(c, method, "/x", "y"); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	server.CloseClientConnections()
	goleak.VerifyNone(t, before)
}

// TestARequestOfItsOwnHasATimeOfItsOwn: a client's request waits for it, and may have all the time in the world.
func TestARequestOfItsOwnHasATimeOfItsOwn(t *testing.T) {
	c := planeOf(t, apiserver(t))
	maps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	var asked sync.WaitGroup
	for what, own := range map[string]struct {
		ask    func() error
		within time.Duration
	}{
		"of metadata": {func() error {
			_, err := c.Metadata().Resource(maps).Namespace("default").Get(t.Context(), "slow", metav1.GetOptions{})
			return err
		}, readTimeout},
		"of an object": {func() error {
			_, err := c.Dynamic().Resource(maps).Namespace("default").Get(t.Context(), "slow", metav1.GetOptions{})
			return err
		}, ownTimeout},
		"as the mover": {func() error {
			_, err := c.Mover().Resource(maps).Namespace("default").Patch(t.Context(), "slow", types.MergePatchType, []byte("{}"), metav1.PatchOptions{})
			return err
		}, ownTimeout},
	} {
		asked.Go(func() {
			began := time.Now()
			err := own.ask()
			if took := time.Since(began); err == nil || took < own.within || took > 2*own.within {
				t.Errorf("%s: after %s: %v; want it given up after %s", what, took, err, own.within)
			}
		})
	}
	asked.Wait()
}
