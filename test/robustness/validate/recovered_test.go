package validate_test

import (
	"testing"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

func TestRecovered(t *testing.T) {
	lost := history.Loss{Key: key, From: 10, To: 20}
	stale := func(copies ...history.State) history.Loss {
		return history.Loss{Key: key, Stale: true, From: 10, To: 20, Copies: copies}
	}
	copied := state("a", "a", "7") // a version of the dead cell's own
	absent := op(30, 31, history.Get, history.Absent)
	deleted := op(5, 6, history.Delete, history.OK)
	found := op(0, 0, history.Found, history.OK, seen(state("a", "b", "20")))
	cut := op(9, 0, history.Patch, history.Unknown, mark("c"))
	for name, c := range map[string]struct {
		ops    []history.Op
		losses []history.Loss
		bad    bool
	}{
		"nothing died":                            {ops: []history.Op{made(), updated(), got(5, 6, state("a", "b", "20"))}},
		"it was there before":                     {ops: []history.Op{found, got(30, 31, state("a", "b", "900"))}},
		"it was there before, and is lost":        {ops: []history.Op{found, absent}, bad: true},
		"it was there before, and is made":        {ops: []history.Op{found, made()}, bad: true},
		"it was there before, as something else":  {ops: []history.Op{found, got(30, 31, state("a", "a", "900"))}, bad: true},
		"all of it is back":                       {ops: []history.Op{made(), updated(), got(30, 31, state("a", "b", "900"))}},
		"lost and named":                          {ops: []history.Op{made(), absent}, losses: []history.Loss{lost}},
		"lost and not named":                      {ops: []history.Op{made(), absent}, bad: true},
		"named as lost, and there":                {ops: []history.Op{made(), got(30, 31, state("a", "a", "900"))}, losses: []history.Loss{lost}, bad: true},
		"named as lost, and never was there":      {ops: []history.Op{absent}, losses: []history.Loss{lost}, bad: true},
		"named as lost, and nobody asked for it":  {losses: []history.Loss{lost}, bad: true},
		"named as lost, and was deleted before":   {ops: []history.Op{made(), deleted, absent}, losses: []history.Loss{lost}, bad: true},
		"lost, and gone before the cell died":     {ops: []history.Op{made(), op(5, 6, history.Get, history.Absent)}, losses: []history.Loss{lost}, bad: true},
		"lost, and made again":                    {ops: []history.Op{made(), op(25, 26, history.Create, history.OK, mark("z"), seen(state("z", "z", "5")))}, losses: []history.Loss{lost}},
		"lost, and back for a moment":             {ops: []history.Op{made(), got(22, 23, state("a", "a", "900")), absent}, losses: []history.Loss{lost}, bad: true},
		"stale and named":                         {ops: []history.Op{made(), updated(), got(30, 31, state("a", "a", "900"))}, losses: []history.Loss{stale(copied)}},
		"stale and not named":                     {ops: []history.Op{made(), updated(), got(30, 31, state("a", "a", "900"))}, bad: true},
		"named as stale, and whole":               {ops: []history.Op{made(), updated(), got(30, 31, state("a", "b", "900"))}, losses: []history.Loss{stale(state("a", "b", "8"))}, bad: true},
		"named as stale, and lost":                {ops: []history.Op{made(), updated(), absent}, losses: []history.Loss{stale(copied)}, bad: true},
		"stale, but not as the copy was":          {ops: []history.Op{made(), updated(), got(30, 31, state("a", "x", "900"))}, losses: []history.Loss{stale(copied)}, bad: true},
		"stale, the copy of another life":         {ops: []history.Op{made(), updated(), got(30, 31, state("y", "y", "900"))}, losses: []history.Loss{stale(state("y", "y", "7"))}, bad: true},
		"stale, and the version goes back":        {ops: []history.Op{made(), updated(), got(30, 31, state("a", "a", "15"))}, losses: []history.Loss{stale(copied)}, bad: true},
		"stale, and nobody saw a copy":            {ops: []history.Op{made(), updated(), got(30, 31, state("a", "a", "900"))}, losses: []history.Loss{stale()}, bad: true},
		"stale, one of two copies":                {ops: []history.Op{made(), updated(), got(30, 31, state("a", "a", "900"))}, losses: []history.Loss{stale(state("a", "x", "8"), copied)}},
		"cut off, done and lost":                  {ops: []history.Op{made(), cut, got(30, 31, state("a", "a", "900"))}, losses: []history.Loss{stale(copied)}},
		"cut off, not done":                       {ops: []history.Op{made(), cut, got(30, 31, state("a", "a", "900"))}},
		"cut off, done and back":                  {ops: []history.Op{made(), cut, got(30, 31, state("a", "c", "900"))}},
		"a deletion comes back":                   {ops: []history.Op{made(), deleted, got(30, 31, state("a", "a", "900"))}, bad: true},
		"lost in a second failover, stale before": {ops: []history.Op{made(), updated(), absent}, losses: []history.Loss{stale(copied), {Key: key, From: 22, To: 28}}},
		"only one of two failovers took anything": {ops: []history.Op{made(), updated(), absent}, losses: []history.Loss{lost, {Key: key, From: 22, To: 28}}, bad: true},
	} {
		problems := validate.Recovered(c.ops, c.losses)
		if bad := len(problems) > 0; bad != c.bad {
			t.Errorf("%s: %q", name, problems)
		}
	}
}
