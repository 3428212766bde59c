package plan

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

func TestApply(t *testing.T) {
	t.Parallel()
	three := equalCells(3)
	for name, test := range map[string]struct {
		changes Changes
		want    string
	}{
		"nothing":            {Changes{}, "cell-1=100 cell-2=100 cell-3=100"},
		"add":                {Changes{Add: 2}, "cell-1=100 cell-2=100 cell-3=100 cell-4=100 cell-5=100"},
		"drain":              {Changes{Drain: []string{"cell-2"}}, "cell-1=100 cell-3=100"},
		"drain last and add": {Changes{Drain: []string{"cell-3"}, Add: 1}, "cell-1=100 cell-2=100 cell-4=100"},
		"weight":             {Changes{Weights: []placement.Member{{Cell: "cell-1", Weight: 7}}}, "cell-1=7 cell-2=100 cell-3=100"},
		"join":               {Changes{Join: []placement.Member{{Cell: "east", Weight: 50}}}, "cell-1=100 cell-2=100 cell-3=100 east=50"},
		"join and add":       {Changes{Join: []placement.Member{{Cell: "cell-8", Weight: 50}}, Add: 1}, "cell-1=100 cell-2=100 cell-3=100 cell-8=50 cell-9=100"},
	} {
		got, err := test.changes.Apply(three)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, list(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if test.changes.None() != (name == "nothing") {
			t.Errorf("%s: None() = %v", name, test.changes.None())
		}
	}
	if diff := cmp.Diff(equalCells(3), three); diff != "" {
		t.Errorf("Apply changed its input: %s", diff)
	}
}

func list(members []placement.Member) string {
	var out []string
	for _, m := range members {
		out = append(out, m.Cell+"="+strings.TrimLeft(string(appendPadded(nil, m.Weight, 1)), "0"))
	}
	return strings.Join(out, " ")
}

func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		changes      Changes
		change, cell string
		message      string
	}{
		"drain unknown":  {Changes{Drain: []string{"cell-9"}}, "drain", "cell-9", `drain "cell-9": no such member, or drained twice; the ring has cell-1, cell-2`},
		"drain twice":    {Changes{Drain: []string{"cell-1", "cell-1"}}, "drain", "cell-1", "drained twice"},
		"weight unknown": {Changes{Weights: []placement.Member{{Cell: "x", Weight: 1}}}, "weight", "x", `weight "x": no such member`},
		"weight drained": {Changes{Drain: []string{"cell-1"}, Weights: []placement.Member{{Cell: "cell-1", Weight: 1}}}, "weight", "cell-1", "drained"},
		"join member":    {Changes{Join: []placement.Member{{Cell: "cell-1", Weight: 1}}}, "join", "cell-1", "a member already"},
		"rejoin":         {Changes{Drain: []string{"cell-1"}, Join: []placement.Member{{Cell: "cell-1", Weight: 1}}}, "join", "cell-1", "a member already"},
		"add negative":   {Changes{Add: -1}, "add", "", "-1 cells cannot be added"},
		"add many":       {Changes{Add: 255}, "add", "", "up to 256"},
	} {
		members, err := test.changes.Apply(equalCells(2))
		var refused *ChangeError
		if members != nil || !errors.As(err, &refused) || refused.Change != test.change || refused.Cell != test.cell || !strings.Contains(err.Error(), test.message) {
			t.Errorf("%s: %v, want %q", name, err, test.message)
		}
	}
}
