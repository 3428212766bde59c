package failover_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// BenchmarkFailover is a cell of n workloads that dies: from the order to all of them being writable.
func BenchmarkFailover(b *testing.B) {
	for _, n := range []int{500, 2000} {
		b.Run(fmt.Sprintf("workloads=%d", n), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				bed := newBed(b)
				ours := bed.many(n)
				bed.dies("cell-1")
				name := bed.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name
				b.StartTimer()
				began := time.Now()
				d, ctx, _ := bed.driver()
				_, err := d.Run(ctx, name)
				bed.must(err)
				b.ReportMetric(time.Since(began).Seconds(), "s/all-writable")
				b.StopTimer()
				bed.usable("cell-1", "1", ours[0], ours[n-1])
			}
		})
	}
}

// many makes n config maps of cell-1 with their envelopes, directly and many at a time.
func (b *bed) many(n int) []string {
	snap, err := routing.FromRing(b.ring())
	b.must(err)
	direct := configMaps{b, b.cells["cell-1"]}
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
		group.Go(func() error {
			_, err := direct.create(name, "1")
			b.seal(name, p.Old(), p.OldBackup())
			return err
		})
	}
	b.must(group.Wait())
	return names
}
