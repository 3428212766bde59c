package validate_test

import (
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

const key = "configmaps/k-1"

// op is an operation on key that took effect between two moments.
func op(call, ret int64, verb history.Verb, outcome history.Outcome, edits ...func(*history.Op)) history.Op {
	o := history.Op{Key: key, Via: "router-1", Verb: verb, Call: call, Return: ret, Outcome: outcome}
	if outcome == history.Unknown {
		o.Return = history.Never
	}
	for _, edit := range edits {
		edit(&o)
	}
	return o
}

func mark(m string) func(*history.Op)          { return func(o *history.Op) { o.Mark = m } }
func replicas(n int64) func(*history.Op)       { return func(o *history.Op) { o.Replicas = n } }
func reported(n int64) func(*history.Op)       { return func(o *history.Op) { o.Reported = n } }
func ifVersion(v string) func(*history.Op)     { return func(o *history.Op) { o.IfVersion = v } }
func seen(s history.State) func(o *history.Op) { return func(o *history.Op) { o.Seen = s } }

func state(born, mark, version string) history.State {
	return history.State{Born: born, Mark: mark, Version: version}
}

// made is a create that succeeded with version 10.
func made() history.Op {
	return op(1, 2, history.Create, history.OK, mark("a"), seen(state("a", "a", "10")))
}

func updated() history.Op {
	return op(3, 4, history.Update, history.OK, mark("b"), ifVersion("10"), seen(state("a", "b", "20")))
}

// reports is a write of the status with version 20, withReport what it makes of the object.
func reports(condition string) history.Op {
	return op(3, 4, history.Report, history.OK, reported(5), ifVersion(condition), seen(withReport("20")))
}

func withReport(version string) history.State {
	return history.State{Born: "a", Mark: "a", Reported: 5, Version: version}
}

func got(call, ret int64, s history.State) history.Op {
	return op(call, ret, history.Get, history.OK, seen(s))
}

func TestLinearizable(t *testing.T) {
	ab := state("a", "b", "20")
	for name, c := range map[string]struct {
		ops   []history.Op
		moves bool
		bad   bool
	}{
		"good":                                {ops: []history.Op{op(0, 1, history.Get, history.Absent), made(), updated(), got(5, 6, ab)}},
		"a write is lost":                     {ops: []history.Op{made(), updated(), got(5, 6, state("a", "a", "10"))}, bad: true},
		"a write is lost and moved":           {ops: []history.Op{made(), updated(), got(5, 6, state("a", "a", "30"))}, moves: true, bad: true},
		"an object is lost":                   {ops: []history.Op{made(), op(3, 4, history.Get, history.Absent)}, bad: true},
		"a deletion is lost":                  {ops: []history.Op{made(), op(3, 4, history.Delete, history.OK), got(5, 6, state("a", "a", "10"))}, bad: true},
		"two creates":                         {ops: []history.Op{made(), op(3, 4, history.Create, history.OK, mark("c"), seen(state("c", "c", "20")))}, bad: true},
		"exists, but does not":                {ops: []history.Op{op(1, 2, history.Create, history.Exists, mark("c"))}, bad: true},
		"a read is early":                     {ops: []history.Op{got(0, 1, state("a", "a", "10")), op(2, 3, history.Create, history.OK, mark("a"), seen(state("a", "a", "10")))}, bad: true},
		"a read at the same time":             {ops: []history.Op{got(0, 3, state("a", "a", "10")), made()}},
		"two updates of one version":          {ops: []history.Op{made(), updated(), op(5, 6, history.Update, history.OK, mark("c"), ifVersion("10"), seen(state("a", "c", "30")))}, bad: true},
		"a conflict for no reason":            {ops: []history.Op{made(), op(3, 4, history.Update, history.Conflict, mark("b"), ifVersion("10"))}, bad: true},
		"a conflict with a move":              {ops: []history.Op{made(), op(3, 4, history.Update, history.Conflict, mark("b"), ifVersion("10")), got(5, 6, state("a", "a", "20"))}, moves: true},
		"a conflict, and nothing has moved":   {ops: []history.Op{made(), op(3, 4, history.Update, history.Conflict, mark("b"), ifVersion("10")), got(5, 6, state("a", "a", "10"))}, moves: true, bad: true},
		"a version changes by itself":         {ops: []history.Op{made(), got(3, 4, state("a", "a", "20"))}, bad: true},
		"a version changes by a move":         {ops: []history.Op{made(), got(3, 4, state("a", "a", "20"))}, moves: true},
		"a version goes back":                 {ops: []history.Op{made(), updated(), got(5, 6, state("a", "b", "15"))}, moves: true, bad: true},
		"a write makes no newer version":      {ops: []history.Op{made(), op(3, 4, history.Patch, history.OK, mark("b"), seen(state("a", "b", "9")))}, moves: true, bad: true},
		"no answer, done":                     {ops: []history.Op{made(), op(3, 0, history.Patch, history.Unknown, mark("b")), got(5, 6, ab)}},
		"no answer, done later":               {ops: []history.Op{made(), op(3, 0, history.Patch, history.Unknown, mark("b")), got(5, 6, state("a", "a", "10")), got(7, 8, ab)}},
		"no answer, done and undone":          {ops: []history.Op{made(), op(3, 0, history.Patch, history.Unknown, mark("b")), got(5, 6, ab), got(7, 8, state("a", "a", "10"))}, bad: true},
		"no answer, done against a condition": {ops: []history.Op{made(), updated(), op(5, 0, history.Update, history.Unknown, mark("c"), ifVersion("10")), got(7, 8, state("a", "c", "30"))}, bad: true},
		"refused, and done":                   {ops: []history.Op{made(), op(3, 4, history.Patch, history.Refused, mark("b")), got(5, 6, ab)}, bad: true},
		"a direct write, its version unseen":  {ops: []history.Op{made(), op(3, 4, history.Patch, history.OK, mark("b"), seen(state("a", "b", ""))), got(5, 6, ab)}},
		"a direct write is lost":              {ops: []history.Op{made(), op(3, 4, history.Patch, history.OK, mark("b"), seen(state("a", "b", ""))), got(5, 6, state("a", "a", "20"))}, moves: true, bad: true},
		"scaled": {ops: []history.Op{made(), op(3, 4, history.Scale, history.OK, replicas(7), seen(history.State{Replicas: 7, Version: "20"})),
			got(5, 6, history.State{Born: "a", Mark: "a", Replicas: 7, Version: "20"})}},
		"a scale is lost": {ops: []history.Op{made(), op(3, 4, history.Scale, history.OK, replicas(7), seen(history.State{Replicas: 7, Version: "20"})),
			got(5, 6, state("a", "a", "20"))}, moves: true, bad: true},
		"reported":                 {ops: []history.Op{made(), reports("10"), got(5, 6, withReport("20"))}},
		"a report is lost":         {ops: []history.Op{made(), reports("10"), got(5, 6, state("a", "a", "30"))}, moves: true, bad: true},
		"a report against another": {ops: []history.Op{made(), updated(), reports("10")}, moves: true, bad: true},
		"a report survives an update": {ops: []history.Op{made(), reports(""), op(5, 6, history.Update, history.OK, mark("b"), ifVersion("20"),
			seen(history.State{Born: "a", Mark: "b", Reported: 5, Version: "30"}))}},
		"an update takes the report off": {ops: []history.Op{made(), reports(""), op(5, 6, history.Update, history.OK, mark("b"), ifVersion("20"),
			seen(state("a", "b", "30")))}, bad: true},
		"a new object has an old report": {ops: []history.Op{made(), reports(""), op(5, 6, history.Delete, history.OK),
			op(7, 8, history.Create, history.OK, mark("b"), seen(history.State{Born: "b", Mark: "b", Reported: 5, Version: "30"}))}, bad: true},
		"a scale does not see the report": {ops: []history.Op{made(), reports(""),
			op(5, 6, history.Scale, history.OK, replicas(7), seen(history.State{Replicas: 7, Version: "30"}))}, bad: true},
	} {
		problems := validate.Linearizable(c.ops, func(string) bool { return c.moves })
		if bad := len(problems) > 0; bad != c.bad {
			t.Errorf("%s: %q", name, problems)
		}
	}
}

func TestTheShortestBadBeginningIsShown(t *testing.T) {
	ops := []history.Op{made(), op(3, 4, history.Get, history.Absent)}
	for i := range int64(50) {
		ops = append(ops, got(10+2*i, 11+2*i, state("a", "a", "10")))
	}
	problems := validate.Linearizable(ops, func(string) bool { return false })
	if len(problems) != 1 || strings.Count(problems[0], "\n") != 2 || !strings.Contains(problems[0], "absent") {
		t.Errorf("want two operations, with the absent one: %q", problems)
	}
}
