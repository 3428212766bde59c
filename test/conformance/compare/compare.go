// Package compare judges two runs of the same specs, one against a cell directly and one through a router:
// whatever passes directly has to pass through the router, or be excused by name with a reason. It is pure;
// cmd/compare reads the files.
package compare

import (
	"github.com/kubecell/kubectl-cell/test/conformance/result"
	"github.com/kubecell/kubectl-cell/test/conformance/selection"
)

// Verdict is the judgement on one spec.
type Verdict string

const (
	// Same passes on both sides.
	Same Verdict = "same"
	// Broken passes directly and not through the router: the router's fault, and the run fails.
	Broken Verdict = "broken"
	// Excused is Broken with a reason in the list of exceptions.
	Excused Verdict = "excused"
	// Unfit does not pass directly, so that it says nothing about the router. The run fails: such a spec
	// must not be in the list, or else the cell is broken and the whole comparison is worth nothing.
	Unfit Verdict = "unfit"
)

// notRun is the state of a spec without a result, since the run ended before it or does not know its name.
const notRun = "not run"

// Row is the comparison of one spec.
type Row struct {
	selection.Spec
	// Direct and Router are the states of the two runs.
	Direct, Router string
	Verdict        Verdict
	// Reason says why it does not pass: the reason of the exception, or the start of the spec's message.
	Reason string
}

// Table is the comparison of all specs, in the order of the list.
type Table []Row

// Runs holds the results of both runs by the names of specs.
type Runs struct {
	Direct, Router map[string]result.Result
}

// Compare makes the table of specs. Exceptions maps names to reasons.
func Compare(specs []selection.Spec, runs Runs, exceptions map[string]string) Table {
	var table Table
	for _, spec := range specs {
		direct, router := outcome(runs.Direct, spec.Name), outcome(runs.Router, spec.Name)
		row := Row{Spec: spec, Direct: direct.State, Router: router.State}
		reason, excused := exceptions[spec.Name]
		switch {
		case direct.State != result.Passed:
			row.Verdict, row.Reason = Unfit, short(direct.Message)
		case router.State == result.Passed:
			row.Verdict = Same
		case excused:
			row.Verdict, row.Reason = Excused, reason
		default:
			row.Verdict, row.Reason = Broken, short(router.Message)
		}
		table = append(table, row)
	}
	return table
}

// Count is how many specs got the verdict.
func (t Table) Count(v Verdict) int {
	n := 0
	for _, row := range t {
		if row.Verdict == v {
			n++
		}
	}
	return n
}

// OK says whether the run may end well: no spec is broken or unfit.
func (t Table) OK() bool { return t.Count(Broken) == 0 && t.Count(Unfit) == 0 }

func outcome(results map[string]result.Result, name string) result.Result {
	if r, ok := results[name]; ok {
		return r
	}
	return result.Result{Spec: name, State: notRun}
}
