package validate_test

import (
	"testing"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

func via(name string) func(*history.Op) { return func(o *history.Op) { o.Via = name } }

// direct is a write to cell-1, past the routers.
func direct(call int64, outcome history.Outcome, m string) history.Op {
	return op(call, call+1, history.Patch, outcome, via("cell-1"), mark(m))
}

func TestZombie(t *testing.T) {
	frozen := direct(5, history.Refused, "b")
	raw := func(outcome history.Outcome) history.Op {
		return op(3, 4, history.Patch, outcome, via("router-1"), mark("r"))
	}
	for name, c := range map[string]struct {
		writes []history.Op
		bad    bool
	}{
		"writes of before":           {writes: []history.Op{direct(1, history.OK, "a"), frozen, direct(9, history.Refused, "c")}},
		"a write at the same time":   {writes: []history.Op{op(4, 9, history.Patch, history.OK, via("cell-1")), frozen}},
		"a write of after":           {writes: []history.Op{frozen, direct(9, history.OK, "c")}, bad: true},
		"never frozen":               {writes: []history.Op{direct(1, history.OK, "a")}, bad: true},
		"a router's refusal":         {writes: []history.Op{frozen, raw(history.Refused)}},
		"a router's is not a freeze": {writes: []history.Op{raw(history.Refused)}, bad: true},
		"through a router":           {writes: []history.Op{frozen, raw(history.OK)}, bad: true},
	} {
		problems := validate.Zombie("cell-1", c.writes)
		if bad := len(problems) > 0; bad != c.bad {
			t.Errorf("%s: %q", name, problems)
		}
	}
}

func TestQuarantined(t *testing.T) {
	of := func(m string) *history.State {
		s := state("a", m, "")
		return &s
	}
	both := history.Saved{Cell: of("z"), Federation: of("a"), Diff: "-a +z"}
	written := []history.Op{direct(1, history.OK, "y"), direct(3, history.OK, "z")}
	for name, c := range map[string]struct {
		writes []history.Op
		losses []history.Loss
		file   history.Saved
		bad    bool
	}{
		"nothing was written":           {},
		"both versions":                 {writes: written, file: both},
		"the federation has none":       {writes: written, file: history.Saved{Cell: of("z"), Diff: "+z"}},
		"no file":                       {writes: written, bad: true},
		"an earlier write":              {writes: written, file: history.Saved{Cell: of("y"), Federation: of("a"), Diff: "-a +y"}, bad: true},
		"no diff":                       {writes: written, file: history.Saved{Cell: of("z"), Federation: of("a")}, bad: true},
		"it is in the federation":       {writes: written, file: history.Saved{Cell: of("z"), Federation: of("z"), Diff: "?"}, bad: true},
		"without an answer, done":       {writes: append(written, direct(5, history.Unknown, "u")), file: history.Saved{Cell: of("u"), Federation: of("a"), Diff: "-a +u"}},
		"without an answer, not done":   {writes: append(written, direct(5, history.Unknown, "u")), file: both},
		"only without an answer":        {writes: []history.Op{direct(1, history.Unknown, "u")}},
		"refused, and done":             {writes: append(written, direct(5, history.Refused, "r")), file: history.Saved{Cell: of("r"), Federation: of("a"), Diff: "-a +r"}, bad: true},
		"lost and saved":                {losses: []history.Loss{{Cell: "cell-1", Key: key}}, file: history.Saved{Cell: of("a"), Diff: "+a"}},
		"lost, and in no file":          {losses: []history.Loss{{Cell: "cell-1", Key: key}}, bad: true},
		"lost by another cell":          {losses: []history.Loss{{Cell: "cell-2", Key: key}}},
		"stale and saved":               {losses: []history.Loss{{Cell: "cell-1", Key: key, Stale: true}}, file: both},
		"stale, only the federation is": {losses: []history.Loss{{Cell: "cell-1", Key: key, Stale: true}}, file: history.Saved{Federation: of("a")}, bad: true},
	} {
		files := map[string]history.Saved{}
		if c.file != (history.Saved{}) {
			files[key] = c.file
		}
		problems := validate.Quarantined("cell-1", c.writes, c.losses, files)
		if bad := len(problems) > 0; bad != c.bad {
			t.Errorf("%s: %q", name, problems)
		}
	}
}
