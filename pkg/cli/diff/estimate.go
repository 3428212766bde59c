package diff

import (
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// Estimate is how long a rebalance would take that is as fast as an earlier one.
type Estimate struct {
	// Seconds that all moves would take.
	Seconds int64 `json:"seconds"`
	// LikeRun is the earlier one: the last that has moved units to its end.
	LikeRun string `json:"likeRun"`
	// Window of that run: how many units it had in flight.
	Window int32 `json:"window"`
}

// estimate is nil where no run has moved anything yet, or nothing moves. Rests and pauses of the earlier run count. One that
// ended before it began, by a clock that was put back meanwhile, says nothing.
func estimate(runs []v1alpha1.Rebalance, moves int64) *Estimate {
	var out *Estimate
	var last time.Time
	for i := range runs {
		run := &runs[i]
		s := &run.Status
		if s.Phase != v1alpha1.RebalanceSucceeded || s.StartTime == nil || s.CompletionTime == nil || s.CompletionTime.Time.Before(last) {
			continue
		}
		moved := rebalance.ProgressOf(s).Moved
		if took := s.CompletionTime.Sub(s.StartTime.Time); moved > 0 && moves > 0 && took >= 0 {
			seconds := max(1, int64(float64(moves)/float64(moved)*took.Seconds()))
			last, out = s.CompletionTime.Time, &Estimate{Seconds: seconds, LikeRun: run.Name, Window: run.Spec.Window}
		}
	}
	return out
}
