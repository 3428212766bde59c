package rebalance

import (
	"fmt"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

const (
	// adaptEvery is how often the window is looked at.
	adaptEvery = time.Second
	// calm is how long nothing may have been wrong before the window grows again, by a tenth of what is
	// wanted.
	calm     = 5 * time.Second
	growth   = 10
	slowdown = 2
	// floor is a latency below which no cell is slow, whatever it was before: a unit that takes three such
	// writes between mark and reveal is not closed for much longer than a second.
	floor = 400 * time.Millisecond
	// sustained is how many looks in a row a cell must be slow: one may be its compaction. After that the
	// smaller window is given effect.
	sustained = 2
	effect    = 3 * time.Second
	// inertia is how much a baseline weighs against what is measured.
	inertia = 4
	// enough is how many writes make a percentile.
	enough = 50
)

// Reasons for a window smaller than wanted, in the condition FullSpeed.
const (
	ReasonFullSpeed       = "FullSpeed"
	ReasonTooManyRequests = "TooManyRequests"
	ReasonCellSlow        = "CellSlow"
)

// throttle is the window as it is at this time. It is used by one goroutine.
type throttle struct {
	wanted, now int32
	// reason and message say why now is smaller than wanted.
	reason, message string
	// bad is when the last thing was wrong, or the window grew; shrunk is when it was halved.
	bad, shrunk time.Time
	// baselines are the cells' own, by their names. They are measured at the full window alone: a smaller
	// one makes every cell faster.
	baselines map[string]time.Duration
	// slow is how many looks in a row a cell has been slow.
	slow map[string]int
}

func newThrottle() *throttle {
	return &throttle{baselines: map[string]time.Duration{}, slow: map[string]int{}, reason: ReasonFullSpeed}
}

// want takes the window of the spec over. One that grows is used at once, unless a cell is slow.
func (t *throttle) want(window int32) {
	if window == t.wanted {
		return
	}
	t.wanted = window
	if t.reason == ReasonFullSpeed || t.now > window {
		t.now = window
	}
	t.settle()
}

// load is what a cell showed since it was looked at last.
type load struct {
	cell    string
	writes  int64
	latency time.Duration // 99th percentile
	refused int64         // answers 429
}

// look halves the window where a cell has had enough, and lets it grow when all are calm.
func (t *throttle) look(loads []load, at time.Time) {
	for _, l := range loads {
		switch {
		case l.refused > 0:
			t.shrink(at, ReasonTooManyRequests, fmt.Sprintf("cell %s answered 429 to %d requests", l.cell, l.refused))
		case l.writes < enough:
		case t.baselines[l.cell] == 0:
			t.baselines[l.cell] = l.latency
		case l.latency > slowdown*t.baselines[l.cell] && l.latency > floor:
			if t.slow[l.cell]++; t.slow[l.cell] >= sustained {
				t.shrink(at, ReasonCellSlow, fmt.Sprintf("writes to cell %s take %s (p99); they took %s",
					l.cell, l.latency.Round(time.Millisecond), t.baselines[l.cell].Round(time.Millisecond)))
			}
		default:
			t.slow[l.cell] = 0
			if t.now == t.wanted {
				t.baselines[l.cell] = (inertia*t.baselines[l.cell] + l.latency) / (inertia + 1)
			}
		}
	}
	if t.now < t.wanted && at.Sub(t.bad) >= calm {
		t.bad = at
		t.now = min(t.wanted, t.now+max(1, t.wanted/growth))
	}
	t.settle()
}

// shrink halves the window, and then waits for what that does.
func (t *throttle) shrink(at time.Time, reason, message string) {
	if at.Sub(t.shrunk) >= effect {
		t.now, t.shrunk = max(1, t.now/2), at
	}
	t.bad, t.reason, t.message = at, reason, message
}

func (t *throttle) settle() {
	if t.now >= t.wanted {
		t.now, t.reason, t.message = t.wanted, ReasonFullSpeed, ""
	}
}

// pacer is a token bucket of one token: so many units begin in a second, evenly.
type pacer struct{ next time.Time }

// ready says whether a unit may begin, and otherwise when. rate 0 means no limit.
func (p *pacer) ready(rate int32, now time.Time) (bool, time.Time) {
	if rate == 0 || !now.Before(p.next) {
		return true, now
	}
	return false, p.next
}

// took takes the token.
func (p *pacer) took(rate int32, now time.Time) {
	if rate == 0 {
		return
	}
	// What was not used for a tenth of a second is lost, so that a pause ends in no rush.
	if earliest := now.Add(-100 * time.Millisecond); p.next.Before(earliest) {
		p.next = earliest
	}
	p.next = p.next.Add(time.Second / time.Duration(rate))
}

// condition is FullSpeed for the status.
func (t *throttle) condition() (status bool, reason, message string) {
	if t.reason == ReasonFullSpeed {
		return true, ReasonFullSpeed, ""
	}
	return false, t.reason, fmt.Sprintf("window %d instead of %d: %s", t.now, t.wanted, t.message)
}

// unlimited is the spec's window in its bounds, for a Rebalance that was written past validation.
func unlimited(spec *v1alpha1.RebalanceSpec) int32 { return max(1, min(spec.Window, maxWindow)) }
