package validate_test

import (
	"testing"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

func TestShown(t *testing.T) {
	written := []history.Op{direct(1, history.OK, "y"), direct(3, history.OK, "z"), direct(5, history.Refused, "r")}
	there := history.Saved{Cell: &history.State{Mark: "z"}, Federation: &history.State{Mark: "a"}, Diff: "-a +z"}
	alone := history.Saved{Cell: &history.State{Mark: "z"}, Diff: "+z"}
	says := func(verdict string, all bool, diverged, onlyHere int) history.Shown {
		shown := history.Shown{Verdicts: map[string]string{}, All: all, Counts: map[string]int{"Diverged": diverged, "OnlyHere": onlyHere}}
		if verdict != "" {
			shown.Verdicts[key] = verdict
		}
		return shown
	}
	for name, c := range map[string]struct {
		writes []history.Op
		shown  history.Shown
		file   history.Saved
		bad    bool
	}{
		"as diverged":                      {written, says("Diverged", true, 1, 0), there, false},
		"as only there":                    {written, says("OnlyHere", true, 0, 1), alone, false},
		"as only there, and it is not":     {written, says("OnlyHere", true, 1, 1), there, true},
		"as diverged, and there is none":   {written, says("Diverged", true, 1, 1), alone, true},
		"not at all":                       {written, says("", true, 1, 0), there, true},
		"of too many to name":              {written, says("", false, 200, 0), there, false},
		"of too many to name, not counted": {written, says("", false, 0, 200), there, true},
		"not counted":                      {written, says("Diverged", true, 0, 0), there, true},
		"only refused":                     {written[2:], says("", true, 0, 0), history.Saved{}, false},
		"without an answer":                {[]history.Op{direct(1, history.Unknown, "u")}, says("", true, 0, 0), history.Saved{}, false},
	} {
		problems := validate.Shown(c.writes, c.shown, map[string]history.Saved{key: c.file})
		if bad := len(problems) > 0; bad != c.bad {
			t.Errorf("%s: %q", name, problems)
		}
	}
}
