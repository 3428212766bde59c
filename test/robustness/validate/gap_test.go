package validate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

func TestFrozenWithin(t *testing.T) {
	const s = int64(time.Second)
	at := func(call, ret int64, outcome history.Outcome) history.Op {
		return op(call, ret, history.Patch, outcome, via("cell-1"))
	}
	routers := op(s, s, history.Patch, history.Refused, via("router-1 raw"))
	for name, c := range map[string]struct {
		back   int64
		writes []history.Op
		most   time.Duration
		said   string
		bad    bool
	}{
		"in time":                    {s, []history.Op{at(s, 2*s, history.OK), at(2*s, 3*s, history.Refused)}, 2 * time.Second, "frozen 1s after its first answer; 1 direct writes accepted in between; frozen 2s after it went on", false},
		"late":                       {s, []history.Op{at(s, 2*s, history.OK), at(2*s, 4*s, history.Refused)}, 2 * time.Second, "frozen 3s after it went on", true},
		"late, and not judged":       {s, []history.Op{at(2*s, 4*s, history.Refused)}, 0, "frozen 3s after it went on", false},
		"only its routers in time":   {s, []history.Op{routers, at(2*s, 4*s, history.Refused)}, 2 * time.Second, "frozen 3s after it went on", true},
		"no answer before":           {s, []history.Op{at(1, s, history.Unknown), at(s, 2*s, history.Absent), at(2*s, 4*s, history.Refused)}, 2 * time.Second, "0 direct writes accepted", true},
		"the first refusal counts":   {s, []history.Op{at(2*s, 3*s, history.Refused), at(8*s, 9*s, history.Refused)}, 2 * time.Second, "frozen 2s after it went on", false},
		"a cell that had to start":   {0, []history.Op{at(8*s, 9*s, history.OK), at(9*s, 10*s, history.Refused)}, 2 * time.Second, "frozen 1s after its first answer; 1 direct writes accepted in between", false},
		"never, which Zombie judges": {s, []history.Op{at(s, 2*s, history.OK)}, 2 * time.Second, "never frozen", false},
	} {
		g := validate.GapOf("cell-1", c.back, c.writes)
		if !strings.Contains(g.String(), c.said) {
			t.Errorf("%s: %q; want %q in it", name, g, c.said)
		}
		problems := validate.FrozenWithin(g, c.most)
		if bad := len(problems) > 0; bad != c.bad {
			t.Errorf("%s: %s: %q", name, g, problems)
		}
	}
}
