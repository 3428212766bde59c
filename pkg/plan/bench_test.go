package plan

import (
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkSimulate10M is "simulate --workloads 10M --cells 8 --add 1" on two goroutines. MiB-peak
// is the most memory that the Go runtime held at any time.
func BenchmarkSimulate10M(b *testing.B) {
	var peak atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			peak.Store(max(peak.Load(), held()))
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	for b.Loop() {
		s := simulate(b, SimulateOptions{
			Workloads: DefaultWorkloads, Cells: 8, Parallel: 2,
			Changes: Changes{Add: 1}, Kill: [][]string{{"cell-1", "cell-3"}},
		})
		b.ReportMetric(100*s.MovedShare, "%moved")
		b.ReportMetric(100*s.IdealShare, "%ideal")
	}
	close(stop)
	<-stopped
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/op")
	b.ReportMetric(float64(peak.Load())/(1<<20), "MiB-peak")
}

// held is the memory in bytes that the Go runtime has from the system and has not given back.
func held() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}
