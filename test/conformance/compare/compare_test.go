package compare_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/test/conformance/compare"
	"github.com/kubecell/kubectl-cell/test/conformance/result"
	"github.com/kubecell/kubectl-cell/test/conformance/selection"
)

func TestVerdicts(t *testing.T) {
	passed := result.Result{State: result.Passed}
	failed := result.Result{State: "failed", Message: "it broke"}
	excuses := map[string]string{"[sig] a": "it is so"}
	for name, tc := range map[string]struct {
		direct, router map[string]result.Result
		exceptions     map[string]string
		want           compare.Row
		ok             bool
	}{
		"passes on both sides": {
			direct: results(passed), router: results(passed),
			want: compare.Row{Direct: "passed", Router: "passed", Verdict: compare.Same}, ok: true,
		},
		"passes although it is excused": {
			direct: results(passed), router: results(passed), exceptions: excuses,
			want: compare.Row{Direct: "passed", Router: "passed", Verdict: compare.Same}, ok: true,
		},
		"fails through the router": {
			direct: results(passed), router: results(failed),
			want: compare.Row{Direct: "passed", Router: "failed", Verdict: compare.Broken, Reason: "it broke"},
		},
		"fails through the router, excused": {
			direct: results(passed), router: results(failed), exceptions: excuses,
			want: compare.Row{Direct: "passed", Router: "failed", Verdict: compare.Excused, Reason: "it is so"}, ok: true,
		},
		"skips itself through the router": {
			direct: results(passed), router: results(result.Result{State: "skipped"}),
			want: compare.Row{Direct: "passed", Router: "skipped", Verdict: compare.Broken},
		},
		"did not run through the router": {
			direct: results(passed),
			want:   compare.Row{Direct: "passed", Router: "not run", Verdict: compare.Broken},
		},
		"fails on both sides, excused": {
			direct: results(failed), router: results(failed), exceptions: excuses,
			want: compare.Row{Direct: "failed", Router: "failed", Verdict: compare.Unfit, Reason: "it broke"},
		},
		"did not run at all": {
			want: compare.Row{Direct: "not run", Router: "not run", Verdict: compare.Unfit},
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := selection.Spec{Name: "[sig] a", Group: "Group"}
			tc.want.Spec = spec
			table := compare.Compare([]selection.Spec{spec}, compare.Runs{Direct: tc.direct, Router: tc.router}, tc.exceptions)
			if diff := cmp.Diff(compare.Table{tc.want}, table); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if table.OK() != tc.ok {
				t.Errorf("OK is %t, want %t", table.OK(), tc.ok)
			}
		})
	}
}

func TestReasonFitsOnOneLine(t *testing.T) {
	for name, tc := range map[string]struct{ message, want string }{
		"dumped error": {
			message: "Unexpected error:\n    <*errors.StatusError | 0xc000a1>: \n    the server does not allow this method\n    {\n        ErrStatus: x",
			want:    "Unexpected error: the server does not allow this method",
		},
		"dumped object": {
			message: "Expected:\n    <*v1.ResourceQuota | 0x2d>: \n        metadata:\n          name: a\nto have used:\n        pods: 1",
			want:    "Expected: to have used:",
		},
		"a long line": {message: strings.Repeat("é", 1000), want: strings.Repeat("é", 239) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			runs := compare.Runs{Direct: results(result.Result{State: "failed", Message: tc.message})}
			table := compare.Compare([]selection.Spec{{Name: "[sig] a"}}, runs, nil)
			if diff := cmp.Diff(tc.want, table[0].Reason); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestMarkdownKeepsNamesAsTheyAre(t *testing.T) {
	table := compare.Table{
		{Spec: selection.Spec{Name: "[sig] a | b", Group: "One"}, Direct: "passed", Router: "passed", Verdict: compare.Same},
		{Spec: selection.Spec{Name: "[sig] c", Group: "Two"}, Direct: "passed", Router: "failed", Verdict: compare.Excused, Reason: "so"},
		{Spec: selection.Spec{Name: "[sig] d", Group: "Two"}, Direct: "passed", Router: "failed", Verdict: compare.Broken, Reason: "pod-x7k2p"},
	}
	want := `3 specs: 1 pass directly and through the router, 1 are excused, 1 fail only through the router, 0 fail directly.

### One

| spec | direct | router |
|---|---|---|
| \[sig] a \| b | passed | passed |

### Two

| spec | direct | router |
|---|---|---|
| \[sig] c | passed | failed: so |
| \[sig] d | passed | failed |
`
	var b strings.Builder
	if err := table.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// results holds one result, of the spec that these tests are about.
func results(r result.Result) map[string]result.Result {
	return map[string]result.Result{"[sig] a": r}
}
