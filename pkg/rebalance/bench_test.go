package rebalance_test

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// BenchmarkRebalance moves config maps from one cell to another, with one router. RCP, cells, router and
// driver share the machine. From the end of the search to the last unit it reports how many units moved in a second, and
// of each unit for how long it was closed to writes, what it took of the processors in all processes together, and how
// many requests the cells and the RCP answered for it.
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
				var from, to phase
				d.Step = func(step rebalance.StepName) {
					switch {
					case step == rebalance.UnitsFound && from.at.IsZero():
						from = bed.phase()
					case step == rebalance.UnitsMoved && to.at.IsZero():
						to = bed.phase()
					}
				}
				bed.start(d, name)
				b.Cleanup(func() {
					for _, e := range d.events.of(rebalance.EventWindow) {
						b.Logf("window %d: %s", e.Window.Now, e.Message)
					}
				})
				run := bed.finish(d, v1alpha1.RebalanceSucceeded)
				report(b, from, to, objects)
				b.ReportMetric(run.Status.WriteBlock.P50.Seconds()*1000, "block-p50-ms")
				b.ReportMetric(run.Status.WriteBlock.P99.Seconds()*1000, "block-p99-ms")
			}
		})
	}
}

// phase is what everything had taken at a moment.
type phase struct {
	at   time.Time
	load sandboxtest.Load
	// rcp and cells are what the apiservers had answered.
	rcp, cells sandboxtest.Requests
}

func (b *bed) phase() phase {
	p := phase{cells: sandboxtest.Requests{}}
	for i, config := range planes.Configs(b.t) {
		requests := sandboxtest.RequestsOf(b.t, rest.CopyConfig(config))
		if i == 0 {
			p.rcp = requests
			continue
		}
		for what, n := range requests {
			p.cells[what] += n
		}
	}
	p.at, p.load = time.Now(), sandboxtest.LoadNow(b.t)
	return p
}

func report(b *testing.B, from, to phase, units int) {
	b.Helper()
	each := float64(units)
	load := to.load.Since(from.load)
	cells, rcp := to.cells.Since(from.cells), to.rcp.Since(from.rcp)
	b.Logf("cells: %v", cells)
	b.Logf("RCP: %v", rcp)
	b.ReportMetric(each/to.at.Sub(from.at).Seconds(), "units/s")
	b.ReportMetric(load.All().Seconds()*1000/each, "cpu-ms/unit")
	b.ReportMetric(load.Test.Seconds()*1000/each, "driver+router-cpu-ms/unit")
	b.ReportMetric(float64(cells.Of("configmaps"))/each, "cell-requests/unit")
	b.ReportMetric(float64(rcp.Of("rings", "rings/status", "leases"))/each, "rcp-requests/unit")
}
