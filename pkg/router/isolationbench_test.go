package router_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const (
	// isolationClients read from the healthy cells, half from each; isolationEvery is between two requests
	// of one client, and between two for the cell that hangs.
	isolationClients = 4
	isolationEvery   = 40 * time.Millisecond
	// isolationPhase is longer than it takes to give a hung cell up, so that a phase has both: requests that
	// hang by the hundred, and requests that are refused at once.
	isolationPhase  = 12 * time.Second
	isolationRounds = 6
)

// paced calls ask each isolationEvery for a phase, and tells it when that request was due.
func paced(ask func(i int, due time.Time) error) error {
	start := time.Now()
	for i := 0; ; i++ {
		due := start.Add(time.Duration(i) * isolationEvery)
		if due.Sub(start) >= isolationPhase {
			return nil
		}
		time.Sleep(time.Until(due))
		if err := ask(i, due); err != nil {
			return err
		}
	}
}

// read returns how long one client's answers took in a phase, in ms, from when their requests were due:
// whatever stalls the router counts once for every request that was held up.
func (t *benchTarget) read(client int) (took []float64, err error) {
	err = paced(func(_ int, due time.Time) error {
		if err := t.get(client); err != nil {
			return err
		}
		took = append(took, time.Since(due).Seconds()*1e3)
		return nil
	})
	return took, err
}

// insist sends requests at the same rate, but waits for none before the next. It returns how many failed.
func (t *benchTarget) insist() int {
	var running sync.WaitGroup
	var failed atomic.Int64
	_ = paced(func(i int, _ time.Time) error {
		running.Go(func() {
			if t.get(i%len(t.clients)) != nil {
				failed.Add(1)
			}
		})
		return nil
	})
	running.Wait()
	return int(failed.Load())
}

// isolationPhaseOf loads all cells and returns what the healthy cells' requests took, in ms, and how many of
// the other cell's failed.
func isolationPhaseOf(b *testing.B, healthy []*benchTarget, other *benchTarget) (took []float64, failed int) {
	b.Helper()
	var running sync.WaitGroup
	running.Go(func() { failed = other.insist() })
	answers := make([][]float64, isolationClients)
	failures := make([]error, isolationClients)
	for i := range isolationClients {
		running.Go(func() { answers[i], failures[i] = healthy[i%len(healthy)].read(i) })
	}
	running.Wait()
	for _, err := range failures {
		if err != nil {
			b.Fatalf("a healthy cell's request: %v", err)
		}
	}
	return slices.Concat(answers...), failed
}

// quantile is the smallest value that a share q of all does not exceed.
func quantile(values []float64, q float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[max(0, int(math.Ceil(q*float64(len(values))))-1)]
}

// BenchmarkRouterIsolation compares the latency of two cells' objects while a third cell hangs with that
// while it serves. The third cell is sent the same requests in both phases.
func BenchmarkRouterIsolation(b *testing.B) {
	s := unshared(b, 3)
	f := &bed{rcp: s.RCP(b), router: s.Router(b), cells: map[string]*rest.Config{"cell-3": s.Cell(b, "cell-3")}}
	maps := kube(b, impatient(f.router)).CoreV1().ConfigMaps("default")
	names := f.oneInEach(b)
	targets := map[string]*benchTarget{}
	for cell, name := range names {
		targets[cell] = newBenchTarget(b, f.router, "/api/v1/namespaces/default/configmaps/"+name)
	}
	gate := f.gate(b, "cell-3", maps, names["cell-3"])
	healthy, other := []*benchTarget{targets["cell-1"], targets["cell-2"]}, targets["cell-3"]
	isolationPhaseOf(b, healthy, other) // all warm
	var before, during, ratios50, ratios99 []float64
	refused := 0
	for b.Loop() {
		for range isolationRounds {
			serving, failed := isolationPhaseOf(b, healthy, other)
			if failed > 0 {
				b.Fatalf("%d requests failed while all cells served", failed)
			}
			gate.Hang()
			hung, failed := isolationPhaseOf(b, healthy, other)
			if failed == 0 {
				b.Fatal("the cell does not hang")
			}
			refused += failed
			gate.Pass()
			until(b, "the cell is back", answered(maps, names["cell-3"]))
			ratios50 = append(ratios50, median(hung)/median(serving))
			ratios99 = append(ratios99, quantile(hung, .99)/quantile(serving, .99))
			before, during = append(before, serving...), append(during, hung...)
			b.Logf("p99 %.2f ms, with one cell hung %.2f ms", quantile(serving, .99), quantile(hung, .99))
		}
	}
	b.ReportMetric(median(ratios99), "p99-hung÷before")
	b.ReportMetric(median(ratios50), "p50-hung÷before")
	b.ReportMetric(quantile(during, .99), "p99-hung-ms")
	b.ReportMetric(quantile(before, .99), "p99-before-ms")
	b.ReportMetric(median(during), "p50-hung-ms")
	b.ReportMetric(median(before), "p50-before-ms")
	b.ReportMetric(float64(refused), "refused")
	b.ReportMetric(0, "ns/op")
}

// oneInEach makes config maps in the namespace default, one for each of three cells, and returns their names.
func (b *bed) oneInEach(t testing.TB) map[string]string {
	t.Helper()
	snap := b.snapshot(t)
	names := map[string]string{}
	for i := 0; len(names) < 3; i++ {
		name := fmt.Sprintf("m-%03d", i)
		p, _ := snap.Table.LookupKey("default/" + name)
		if names[p.Old()] != "" {
			continue
		}
		names[p.Old()] = name
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := kube(t, b.router).CoreV1().ConfigMaps("default").Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return names
}
