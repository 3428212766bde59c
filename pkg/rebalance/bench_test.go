package rebalance_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// BenchmarkRebalance moves config maps from one cell to another, with one router. RCP, cells, router and
// driver share the machine. It reports how many units moved in a second, from the end of the search to the
// last unit, and for how long each was closed to writes.
func BenchmarkRebalance(b *testing.B) {
	for _, window := range []int32{1, 10, 50, 200} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			for b.Loop() {
				bed := newBed(b, member(1, 100))
				objects := min(100*int(window), 1500)
				bed.fill(objects)
				bed.want(member(2, 100))
				name := bed.accepted(v1alpha1.RebalanceSpec{Window: window}).Run.Name
				d := bed.driver("it")
				var from, to time.Time
				d.Step = func(step rebalance.StepName) {
					switch {
					case step == rebalance.UnitsFound && from.IsZero():
						from = time.Now()
					case step == rebalance.UnitsMoved && to.IsZero():
						to = time.Now()
					}
				}
				bed.start(d, name)
				b.Cleanup(func() {
					for _, e := range d.events.of(rebalance.EventWindow) {
						b.Logf("window %d: %s", e.Window.Now, e.Message)
					}
				})
				run := bed.finish(d, v1alpha1.RebalanceSucceeded)
				b.ReportMetric(float64(objects)/to.Sub(from).Seconds(), "units/s")
				b.ReportMetric(run.Status.WriteBlock.P50.Seconds()*1000, "block-p50-ms")
				b.ReportMetric(run.Status.WriteBlock.P99.Seconds()*1000, "block-p99-ms")
			}
		})
	}
}
