package rebalance

import (
	"strings"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// TestLinesFollowAClockThatIsPutBack: how far a run is goes on being said every ten seconds, not after an hour of silence.
func TestLinesFollowAClockThatIsPutBack(t *testing.T) {
	var out strings.Builder
	tell := newWriter(&out, "", func() { t.Error("nobody reads the lines") })
	noon := time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC)
	for _, after := range []time.Duration{0, 9 * time.Second, 10 * time.Second, -time.Hour, -time.Hour + 9*time.Second, -time.Hour + 10*time.Second} {
		tell(rebalance.Event{Time: noon.Add(after), Type: rebalance.EventProgress, Progress: &rebalance.Progress{Total: 10}})
	}
	var times []string
	for line := range strings.Lines(out.String()) {
		times = append(times, line[:len(time.TimeOnly)])
	}
	if got := strings.Join(times, " "); got != "12:00:00 12:00:10 11:00:00 11:00:10" {
		t.Errorf("lines at %s:\n%s", got, &out)
	}
}
