package verify_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/verify"
)

// BenchmarkVerify is a run over n objects in three cells and their envelopes: its time, and by how much the live heap grows at the most.
func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("objects=%d", n), func(b *testing.B) {
			bed := newBed(b)
			bed.fill(n)
			for b.Loop() {
				stop := watchHeap()
				began := time.Now()
				r, err := verify.Run(b.Context(), bed.options())
				took := time.Since(began)
				grown := stop()
				bed.must(err)
				if r.Objects != int64(n) || r.Envelopes != int64(n) || len(r.Findings) > 0 {
					b.Fatalf("%d objects, %d envelopes, findings %s; want %d of each and none", r.Objects, r.Envelopes, describe(r.Findings), n)
				}
				b.ReportMetric(took.Seconds(), "s/run")
				b.ReportMetric(float64(grown)/(1<<20), "MiB-heap")
				b.ReportMetric(float64(r.MostHeld), "objects-held")
			}
		})
	}
}

// watchHeap measures the live heap until it is stopped, and says by how much it grew at the most.
func watchHeap() (stop func() uint64) {
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := live(), uint64(0)
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				most = max(most, live())
			}
		}
	})
	return func() uint64 {
		close(done)
		watching.Wait()
		return max(most, before) - before
	}
}
