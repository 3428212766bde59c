package rebalance

import (
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// TestAPassSleepsUntilSomethingMayBegin has units that are due, and may not begin: they must not keep the driver awake.
func TestAPassSleepsUntilSomethingMayBegin(t *testing.T) {
	now := time.Unix(1000, 0)
	soon := now.Add(200 * time.Millisecond)
	failed := func(due time.Time, begun bool) *task { return &task{due: due, begun: begun} }
	past := now.Add(-time.Minute)
	for name, c := range map[string]struct {
		lane  *lane
		setUp func(*pass)
		want  time.Time
	}{
		"paused with units that failed": {
			&lane{waiting: waiting{failed(past, false)}}, func(p *pass) { p.wish.Paused = true }, now.Add(adaptEvery),
		},
		"paused with one that is half moved behind them": {
			&lane{waiting: waiting{failed(past, false), failed(soon, true)}}, func(p *pass) { p.wish.Paused = true }, soon,
		},
		"a cell that hangs is tried": {
			&lane{ready: []*task{{}}, waiting: waiting{failed(past, true)}, misses: missesToHold, held: past, inFlight: 1},
			func(p *pass) { p.inFlight = 1 }, now.Add(adaptEvery),
		},
		"a cell that is tried again": {&lane{ready: []*task{{}}, misses: missesToHold, held: soon}, nil, soon},
		"the window is full": {
			&lane{waiting: waiting{failed(past, false)}, inFlight: 5}, func(p *pass) { p.inFlight = 5 }, now.Add(adaptEvery),
		},
		"the step is done":     {&lane{waiting: waiting{failed(past, false)}}, func(p *pass) { p.toStep = 0 }, now.Add(adaptEvery)},
		"one is to be retried": {&lane{waiting: waiting{failed(soon, false)}}, nil, soon},
	} {
		record := &v1alpha1.Rebalance{Spec: v1alpha1.RebalanceSpec{Window: 5}}
		p := &pass{
			run:  &run{Driver: &Driver{}, wishes: newWishes(record), ring: &v1alpha1.Ring{}},
			wish: record.Spec, throttle: newThrottle(), toStep: -1, lanes: []*lane{c.lane},
		}
		p.throttle.want(5)
		if c.setUp != nil {
			c.setUp(p)
		}
		if wake := p.beginAll(t.Context(), now); !wake.Equal(c.want) {
			t.Errorf("%s: it wakes after %s; want %s", name, wake.Sub(now), c.want.Sub(now))
		}
	}
}
