package router_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// The benchmarks run the router as the process that it is in production, beside the cell that it is
// compared with, and ask both in turn: what else the machine does then harms both alike. Their results are
// ratios; -benchtime 1x is enough.

const (
	benchClients = 16
	benchRounds  = 7
	benchRound   = 1500 * time.Millisecond
	benchSingles = 3000
)

// rounds is how often something is measured.
func rounds(n int) int {
	if testing.Short() {
		return max(1, n/10)
	}
	return n
}

// benchTarget is one way to an object.
type benchTarget struct {
	clients []*http.Client
	url     string
}

// newBenchTarget has clients with connections of their own, as if each were a process.
func newBenchTarget(b *testing.B, config *rest.Config, path string) *benchTarget {
	b.Helper()
	security, err := rest.TLSConfigFor(config)
	if err != nil {
		b.Fatal(err)
	}
	t := &benchTarget{url: config.Host + path}
	for range benchClients {
		transport := &http.Transport{TLSClientConfig: security.Clone(), ForceAttemptHTTP2: true, DisableCompression: true}
		b.Cleanup(transport.CloseIdleConnections)
		t.clients = append(t.clients, &http.Client{Transport: transport})
	}
	return t
}

func (t *benchTarget) get(client int) error {
	answer, err := t.clients[client].Get(t.url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", t.url, answer.Status)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// throughput is how many answers all clients together get in a round, per second.
func (t *benchTarget) throughput(b *testing.B) float64 {
	b.Helper()
	var running sync.WaitGroup
	counts := make([]int, len(t.clients))
	failures := make([]error, len(t.clients))
	start := time.Now()
	for i := range t.clients {
		running.Go(func() {
			for failures[i] == nil && time.Since(start) < benchRound {
				failures[i] = t.get(i)
				counts[i]++
			}
		})
	}
	running.Wait()
	took := time.Since(start).Seconds()
	total := 0
	for i := range counts {
		if failures[i] != nil {
			b.Fatal(failures[i])
		}
		total += counts[i]
	}
	return float64(total) / took
}

// unshared starts a sandbox whose control planes may use all processors, as do cells that have a machine of their own: a router
// would look better beside a cell that may use a part of them.
func unshared(b *testing.B, cells int) *sandboxtest.Sandbox {
	b.Helper()
	b.Setenv("GOMAXPROCS", strconv.Itoa(runtime.GOMAXPROCS(0)))
	return sandboxtest.Up(b, cells)
}

// benchBed is a federation of one cell and RCP, an object in the cell, and a bare proxy before it.
func benchBed(b *testing.B) (direct, router, bare *benchTarget) {
	b.Helper()
	s := unshared(b, 1)
	viaRouter, cell := s.Router(b), s.Cell(b, "cell-1")
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "bench"}, Data: map[string]string{"text": strings.Repeat("0123456789", 100)}}
	if _, err := kube(b, viaRouter).CoreV1().ConfigMaps("default").Create(b.Context(), object, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	const path = "/api/v1/namespaces/default/configmaps/bench"
	return newBenchTarget(b, cell, path), newBenchTarget(b, viaRouter, path), newBenchTarget(b, startBare(b, cell), path)
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

// BenchmarkRouterGet compares reads of one object through the router with reads from its cell, and with reads through a bare
// proxy, which is the least that a process in between can cost with the libraries of Go.
func BenchmarkRouterGet(b *testing.B) {
	direct, router, bare := benchBed(b)
	b.Run("throughput-16-clients", func(b *testing.B) {
		var ratios, bares, ours, theirs []float64
		direct.throughput(b) // all warm
		router.throughput(b)
		bare.throughput(b)
		for b.Loop() {
			for range rounds(benchRounds) {
				d, r, p := direct.throughput(b), router.throughput(b), bare.throughput(b)
				ratios, bares, theirs, ours = append(ratios, r/d), append(bares, p/d), append(theirs, d), append(ours, r)
			}
		}
		b.ReportMetric(median(ratios), "router÷direct")
		b.ReportMetric(median(bares), "bare÷direct")
		b.ReportMetric(median(ours), "router-get/s")
		b.ReportMetric(median(theirs), "direct-get/s")
		b.ReportMetric(0, "ns/op")
	})
	b.Run("p50-1-client", func(b *testing.B) {
		var ours, theirs, besides, bares []float64
		for b.Loop() {
			// In pairs: what is asked less often is woken up more slowly.
			for range rounds(benchSingles) {
				theirs = append(theirs, timed(b, direct))
				ours = append(ours, timed(b, router))
			}
			for range rounds(benchSingles) {
				besides = append(besides, timed(b, direct))
				bares = append(bares, timed(b, bare))
			}
		}
		b.ReportMetric(median(ours)/median(theirs), "router÷direct")
		b.ReportMetric(median(bares)/median(besides), "bare÷direct")
		b.ReportMetric(median(ours)*1e6, "router-µs")
		b.ReportMetric(median(theirs)*1e6, "direct-µs")
		b.ReportMetric(0, "ns/op")
	})
}

func timed(b *testing.B, t *benchTarget) float64 {
	b.Helper()
	start := time.Now()
	if err := t.get(0); err != nil {
		b.Fatal(err)
	}
	return time.Since(start).Seconds()
}
