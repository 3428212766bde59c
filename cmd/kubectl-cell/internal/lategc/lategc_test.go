package lategc

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// The first collection takes the setting back; one that somebody else has made stays.
func TestBegin(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(usual))
	begin()
	if got := percent(); got != late {
		t.Errorf("it begins with %d; want %d", got, late)
	}
	for deadline := time.Now().Add(10 * time.Second); percent() != usual; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatalf("after a collection it is %d; want %d", percent(), usual)
		}
	}
	for _, other := range []int{50, 300} {
		debug.SetGCPercent(other)
		begin()
		if got := percent(); got != other {
			t.Errorf("where somebody has set %d, it begins with %d", other, got)
		}
		end()
		if got := percent(); got != other {
			t.Errorf("where somebody has set %d, it ends with %d", other, got)
		}
	}
}

// percent is what the collector is set to.
func percent() int {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64()) //nolint:gosec // off is the largest, which is -1
}
