package migration_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// BenchmarkMove moves units between two cells, so many at once, without barrier. Both cells and the mover
// share the machine.
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
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "units/s")
			})
		}
	}
}
