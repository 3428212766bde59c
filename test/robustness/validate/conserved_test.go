package validate_test

import (
	"testing"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

func TestConserved(t *testing.T) {
	deleted := op(5, 6, history.Delete, history.OK)
	reported := op(5, 6, history.Report, history.OK, reported(5))
	scaled := op(5, 6, history.Scale, history.OK, replicas(7))
	for name, c := range map[string]struct {
		ops []history.Op
		is  history.State // absent where zero
		bad bool
	}{
		"good":                             {ops: []history.Op{made(), updated()}, is: state("a", "b", "")},
		"an earlier one is there":          {ops: []history.Op{made(), updated()}, is: state("a", "a", ""), bad: true},
		"the later of two at a time":       {ops: []history.Op{made(), op(3, 9, history.Patch, history.OK, mark("c")), op(4, 5, history.Patch, history.OK, mark("d"))}, is: state("a", "c", "")},
		"the other of two at a time":       {ops: []history.Op{made(), op(3, 9, history.Patch, history.OK, mark("c")), op(4, 5, history.Patch, history.OK, mark("d"))}, is: state("a", "d", "")},
		"deleted":                          {ops: []history.Op{made(), deleted}},
		"lost":                             {ops: []history.Op{made()}, bad: true},
		"lost after its deletion":          {ops: []history.Op{made(), deleted, op(7, 8, history.Create, history.OK, mark("c"))}, bad: true},
		"deleted, and there":               {ops: []history.Op{made(), deleted}, is: state("a", "a", ""), bad: true},
		"never made":                       {ops: []history.Op{op(1, 2, history.Create, history.Refused, mark("a"))}},
		"perhaps made":                     {ops: []history.Op{op(1, 2, history.Create, history.Unknown, mark("a"))}, is: state("a", "a", "")},
		"made though refused":              {ops: []history.Op{op(1, 2, history.Create, history.Refused, mark("a"))}, is: state("a", "a", ""), bad: true},
		"from nowhere":                     {is: state("a", "a", ""), bad: true},
		"content of another life":          {ops: []history.Op{made(), deleted, op(7, 8, history.Create, history.OK, mark("c"))}, is: state("a", "c", ""), bad: true},
		"scaled":                           {ops: []history.Op{made(), scaled}, is: history.State{Born: "a", Mark: "a", Replicas: 7}},
		"scaled by nobody":                 {ops: []history.Op{made(), scaled}, is: history.State{Born: "a", Mark: "a", Replicas: 8}, bad: true},
		"scaled before":                    {ops: []history.Op{made(), op(3, 4, history.Scale, history.OK, replicas(5)), scaled}, is: history.State{Born: "a", Mark: "a", Replicas: 5}, bad: true},
		"reported":                         {ops: []history.Op{made(), reported}, is: withReport("")},
		"a report is lost":                 {ops: []history.Op{made(), reported}, is: state("a", "a", ""), bad: true},
		"reported by nobody":               {ops: []history.Op{made()}, is: withReport(""), bad: true},
		"reported of another life":         {ops: []history.Op{made(), reported, op(7, 8, history.Delete, history.OK), op(9, 10, history.Create, history.OK, mark("c"))}, is: history.State{Born: "c", Mark: "c", Reported: 5}, bad: true},
		"perhaps deleted, made again":      {ops: []history.Op{made(), op(3, 4, history.Delete, history.Unknown), op(7, 8, history.Create, history.OK, mark("c"))}, is: state("c", "c", "")},
		"perhaps deleted, at any time":     {ops: []history.Op{made(), op(3, 4, history.Delete, history.Unknown), op(7, 8, history.Patch, history.OK, mark("c"))}},
		"a conflict that changed it":       {ops: []history.Op{made(), op(3, 4, history.Update, history.Conflict, mark("c"), ifVersion("1"))}, is: state("a", "c", ""), bad: true},
		"no answer, and not done":          {ops: []history.Op{made(), op(3, 4, history.Patch, history.Unknown, mark("c"))}, is: state("a", "a", "")},
		"no answer, done after all others": {ops: []history.Op{made(), op(3, 4, history.Patch, history.Unknown, mark("c")), op(5, 6, history.Patch, history.OK, mark("d"))}, is: state("a", "c", "")},
	} {
		final := map[string]history.State{}
		if c.is != (history.State{}) {
			final[key] = c.is
		}
		problems := validate.Conserved(c.ops, final)
		if bad := len(problems) > 0; bad != c.bad {
			t.Errorf("%s: %q", name, problems)
		}
	}
}
