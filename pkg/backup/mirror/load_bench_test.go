package mirror_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// BenchmarkBackupMemory starts a mirror beside n config maps of 2 KiB, half of it an annotation, that have their
// envelopes already, and reports what the heap grew by once it has found that out: of each workload, with its envelope.
func BenchmarkBackupMemory(b *testing.B) {
	for _, n := range []int{2000, 20000} {
		b.Run(fmt.Sprintf("workloads=%d", n), func(b *testing.B) {
			for b.Loop() {
				bed := newBed(b)
				ring := bed.setRing([]string{east, west}, nil)
				bed.many(ring, n)
				stop := bed.start(ring)
				bed.allStored()
				stop()
				ring = bed.setRing([]string{east, west}, nil)
				before := heap()
				stop = bed.start(ring)
				peak := bed.allStored()
				after := heap()
				stop()
				b.ReportMetric(float64(after-before)/float64(n), "B/workload")
				b.ReportMetric(float64(peak-before)/float64(n), "peak-B/workload")
			}
		})
	}
}

// BenchmarkBackupLoad writes 1,000 times to 200 config maps of one cell, 100 times a second, in turn without and with a
// mirror, and reports what the apiservers of this cell and of the one with the envelopes took of the processors, and
// what this process did, which holds the writer as well.
func BenchmarkBackupLoad(b *testing.B) {
	for b.Loop() {
		bed := newBed(b)
		ring := bed.setRing([]string{east, west}, nil)
		names := bed.many(ring, 200)
		without := bed.writes(names, func(int64) {})
		stop := bed.start(ring)
		bed.allStored()
		with := bed.writes(names, bed.arrived)
		stop()
		for what, c := range map[string]cost{"without": without, "with": with} {
			b.ReportMetric(c.source.Seconds(), "source-cpu-s/"+what)
			b.ReportMetric(c.backup.Seconds(), "backup-cell-cpu-s/"+what)
			b.ReportMetric(c.test.Seconds(), "client-cpu-s/"+what)
		}
	}
}

// cost is processor time.
type cost struct{ source, backup, test time.Duration }

func (b *bed) cost() cost {
	return cost{
		sandboxtest.ProcessorTime(b.t, b.configs[east]), sandboxtest.ProcessorTime(b.t, b.configs[west]), sandboxtest.LoadNow(b.t).Test,
	}
}

// writes makes 1,000 of them, and returns what was taken until they are finished.
func (b *bed) writes(names []string, finished func(version int64)) cost {
	b.t.Helper()
	before := b.cost()
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	var last string
	for n := range 1000 {
		<-every.C
		patch := fmt.Appendf(nil, `{"data":{"n":"%d"}}`, n)
		written, err := b.kube[east].CoreV1().ConfigMaps(b.namespace).Patch(b.t.Context(), names[n%len(names)], types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			b.t.Fatal(err)
		}
		last = written.ResourceVersion
	}
	version, err := strconv.ParseInt(last, 10, 64)
	if err != nil {
		b.t.Fatal(err)
	}
	finished(version)
	after := b.cost()
	return cost{after.source - before.source, after.backup - before.backup, after.test - before.test}
}

// arrived waits until the writes up to a version are in envelopes, as the marks say.
func (b *bed) arrived(version int64) {
	b.t.Helper()
	b.await("all writes to be in envelopes", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.marks[east].Resources[configMaps.GroupResource()] >= version
	})
}

// many makes n config maps that one cell owns, many at a time.
func (b *bed) many(ring *routing.Snapshot, n int) []string {
	b.t.Helper()
	var making errgroup.Group
	making.SetLimit(16)
	filler := strings.Repeat("x", 1<<10)
	var names []string
	for i := 0; len(names) < n; i++ {
		name := fmt.Sprintf("m-%d", i)
		if p, _ := ring.Table.LookupKey(b.namespace + "/" + name); p.Old() != east {
			continue
		}
		names = append(names, name)
		making.Go(func() error {
			_, err := b.kube[east].CoreV1().ConfigMaps(b.namespace).Create(b.t.Context(), &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"filler": filler}}, Data: map[string]string{"filler": filler},
			}, metav1.CreateOptions{})
			return err
		})
	}
	if err := making.Wait(); err != nil {
		b.t.Fatal(err)
	}
	return names
}

// allStored waits until there are envelopes of everything, for as long as it takes, and returns the largest heap that
// was seen meanwhile.
func (b *bed) allStored() (peak int64) {
	b.t.Helper()
	err := wait.PollUntilContextCancel(b.t.Context(), pollInterval, true, func(context.Context) (bool, error) {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		peak = max(peak, int64(now.HeapAlloc))
		return b.complete(east, west), nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return peak
}

// heap is what is in use of it.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers let go
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return int64(now.HeapAlloc)
}
