package validate_test

import (
	"testing"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

func TestSilent(t *testing.T) {
	at := func(sent ...int64) (out []history.DriverWrite) {
		for _, s := range sent {
			out = append(out, history.DriverWrite{Sent: s, What: "PATCH /api/v1/namespaces/x/configmaps/y"})
		}
		return out
	}
	for name, c := range map[string]struct {
		is  history.Suspension
		bad bool
	}{
		"nothing":                     {is: history.Suspension{Resumed: 10}},
		"sent before":                 {is: history.Suspension{Resumed: 10, Writes: at(3, 10)}},
		"sent after":                  {is: history.Suspension{Resumed: 10, Writes: at(3, 11)}, bad: true},
		"sent when it held it again":  {is: history.Suspension{Resumed: 10, Held: 20, Writes: at(21)}},
		"sent before it held it anew": {is: history.Suspension{Resumed: 10, Held: 20, Writes: at(19)}, bad: true},
	} {
		good := history.Suspension{Resumed: 1}
		if problems := validate.Silent([]history.Suspension{good, c.is}); len(problems) > 0 != c.bad {
			t.Errorf("%s: %q", name, problems)
		}
	}
}
