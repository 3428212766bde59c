package validate_test

import (
	"testing"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

func TestProtected(t *testing.T) {
	good := history.Envelope{Cell: "y", Source: "x", Backup: "y", Key: key, State: state("a", "a", "1")}
	changed := func(change func(*history.Envelope)) []history.Envelope {
		e := good
		change(&e)
		return []history.Envelope{e}
	}
	cells := []history.Read{read("x", "1", ""), read("y", "7", history.Migrated), read("z", "", "")}
	for name, c := range map[string]struct {
		cells     []history.Read
		envelopes []history.Envelope
		bad       bool
	}{
		"good":               {cells: cells, envelopes: []history.Envelope{good}},
		"none":               {cells: cells, bad: true},
		"nothing to protect": {cells: []history.Read{read("x", "", ""), read("y", "7", history.Migrated)}},
		"of what is gone":    {cells: []history.Read{read("x", "", "")}, envelopes: []history.Envelope{good}, bad: true},
		"one too many": {cells: cells, envelopes: append(changed(func(e *history.Envelope) { e.Cell, e.Backup = "z", "z" }), good),
			bad: true},
		"in the wrong cell":   {cells: cells, envelopes: changed(func(e *history.Envelope) { e.Cell, e.Backup = "z", "z" }), bad: true},
		"labelled otherwise":  {cells: cells, envelopes: changed(func(e *history.Envelope) { e.Backup = "z" }), bad: true},
		"from the wrong cell": {cells: cells, envelopes: changed(func(e *history.Envelope) { e.Source = "z" }), bad: true},
		"out of date":         {cells: cells, envelopes: changed(func(e *history.Envelope) { e.State.Version = "0" }), bad: true},
		"another object":      {cells: cells, envelopes: changed(func(e *history.Envelope) { e.State.Mark = "b" }), bad: true},
		"unreadable":          {cells: cells, envelopes: changed(func(e *history.Envelope) { e.Problem = "torn" }), bad: true},
	} {
		problems := validate.Protected(c.cells, c.envelopes, func(string) string { return "x" }, func(string) string { return "y" })
		if len(problems) > 0 != c.bad {
			t.Errorf("%s: %q", name, problems)
		}
	}
}
