package migration_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// BenchmarkMove moves units between two cells, so many at once, without barrier. Both cells and the mover
// share the machine. cpu-ms/unit is what all of them took of it together (Linux): unlike units/s it says
// the same beside busy neighbours.
func BenchmarkMove(b *testing.B) {
	for name, text := range map[string]string{
		"configmap":  `, data: {a: b}`,
		"deployment": `, spec: {replicas: 3, selector: {matchLabels: {app: x}}, template: ` + podTemplate + `}, status: {replicas: 3}`,
	} {
		for _, window := range []int{1, 10, 50} {
			b.Run(fmt.Sprintf("%s/window=%d", name, window), func(b *testing.B) {
				bed := newBed(b)
				k := configMaps
				if name == "deployment" {
					k = deployments
				}
				units := make(chan migration.Unit, b.N)
				for n := range b.N {
					units <- bed.unit(bed.found(k, bed.make(bed.old, k, fmt.Sprintf(`{metadata: {name: u%d-%d}%s}`, b.N, n, text))))
				}
				close(units)
				mover := bed.mover()
				before := sandboxtest.LoadNow(b)
				b.ResetTimer()
				var movers sync.WaitGroup
				for range window {
					movers.Go(func() {
						for unit := range units {
							if result := mover.Move(b.Context(), unit); result.Outcome != migration.Moved {
								b.Errorf("%s: %+v", unit, result)
							}
						}
					})
				}
				movers.Wait()
				load := sandboxtest.LoadNow(b).Since(before)
				b.ReportMetric(load.All().Seconds()*1000/float64(b.N), "cpu-ms/unit")
				b.ReportMetric(load.Test.Seconds()*1000/float64(b.N), "mover-cpu-ms/unit")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "units/s")
			})
		}
	}
}

// BenchmarkMoveLargeUnit moves one unit of many objects, as a placement by namespace has them. All of it is closed to
// writes meanwhile.
func BenchmarkMoveLargeUnit(b *testing.B) {
	const objects = 200
	for round := range b.N {
		b.StopTimer()
		bed := newBed(b)
		var found []migration.Object
		for n := range objects {
			found = append(found, bed.found(configMaps, bed.make(bed.old, configMaps, fmt.Sprintf(`{metadata: {name: u%d-%d-%d}, data: {a: b}}`, b.N, round, n))))
		}
		unit, mover := bed.unit(found...), bed.mover()
		b.StartTimer()
		if result := mover.Move(b.Context(), unit); result.Outcome != migration.Moved {
			b.Fatalf("%s: %+v", unit, result)
		}
	}
	b.ReportMetric(float64(objects*b.N)/b.Elapsed().Seconds(), "objects/s")
}
