package migration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/migration"
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
				before := cpu(b)
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
				b.ReportMetric(float64((cpu(b)-before).Milliseconds())/float64(b.N), "cpu-ms/unit")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "units/s")
			})
		}
	}
}

// cpu is the processor time of this process and of its children so far, in steps of 10 ms.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	var ticks int64
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (command) state ppid …; fields 14 and 15 of all are user and system time.
		fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		self := strconv.Itoa(os.Getpid())
		if fields[1] != self && !strings.HasPrefix(string(raw), self+" ") {
			continue
		}
		for _, field := range fields[11:13] {
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
