package failover_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// BenchmarkFailover is a cell of n workloads that hangs, which takes longer to find out than that it is gone: from the order to all of them being writable. A client writes
// to the workload that is promoted last from the order on, until it may: what it waits from the moment in which the
// cell has left the ring is the first write on demand.
func BenchmarkFailover(b *testing.B) {
	for _, n := range []int{500, 2000, 5000} {
		b.Run(fmt.Sprintf("workloads=%d", n), func(b *testing.B) {
			for b.Loop() {
				bed := newBed(b)
				ours := bed.many(n)
				bed.gates["cell-1"].Hang()
				bed.givenUp("cell-1")
				name := bed.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name
				began, before := time.Now(), sandboxtest.LoadNow(b)
				d, ctx, _ := bed.driver()
				var left time.Time
				d.Step = func(step failover.StepName) {
					if step == failover.StepRing {
						left = time.Now()
					}
				}
				written := bed.written(ours[0])
				_, err := d.Run(ctx, name)
				bed.must(err)
				took, load := time.Since(began), sandboxtest.LoadNow(b).Since(before)
				b.ReportMetric(took.Seconds(), "s/all-writable")
				b.ReportMetric(left.Sub(began).Seconds(), "s/ring-left")
				b.ReportMetric((<-written).Sub(left).Seconds(), "s/first-write")
				b.ReportMetric(load.All().Seconds()*1000/float64(n), "cpu-ms/workload")
				bed.usable("cell-1", "1", ours[1], ours[n-1])
			}
		})
	}
}

// written tells when a write to an object was accepted, which is tried from now on.
func (b *bed) written(name string) <-chan time.Time {
	done := make(chan time.Time, 1)
	go func() { // ends with the write, or the benchmark
		defer close(done)
		for b.t.Context().Err() == nil {
			if b.maps().set(name, "first") == nil {
				done <- time.Now()
				return
			}
		}
	}()
	return done
}

// many makes n config maps of cell-1 with their envelopes, directly and many at a time. The first was changed first.
func (b *bed) many(n int) []string {
	ring := b.ring()
	snap, err := routing.FromRing(ring)
	b.must(err)
	var group errgroup.Group
	group.SetLimit(16)
	var names []string
	for i := 0; len(names) < n; i++ {
		name := fmt.Sprintf("x-%d", i)
		p, _ := snap.Table.LookupKey(b.namespace + "/" + name)
		if p.Old() != "cell-1" {
			continue
		}
		names = append(names, name)
		written := time.Now()
		group.Go(func() error {
			made, err := configMaps{b, b.cells["cell-1"]}.create(name, "1")
			if err != nil {
				return err
			}
			made.APIVersion, made.Kind = "v1", "ConfigMap"
			raw, err := json.Marshal(made)
			if err != nil {
				return err
			}
			secret, err := b.sealer.Seal(envelope.Source{
				Resource: "configmaps", Unit: b.namespace + "/" + name, Cell: "cell-1", BackupCell: p.OldBackup(),
				Epoch: ring.Status.Epoch, Written: written,
			}, raw)
			if err != nil {
				return err
			}
			_, err = b.cells[p.OldBackup()].CoreV1().Secrets(v1alpha1.Namespace).Create(b.t.Context(), secret, metav1.CreateOptions{})
			return err
		})
	}
	b.must(group.Wait())
	return names
}
