package validate_test

import (
	"testing"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

// read is a cell with one object; version "" is for none.
func read(cell, version string, status history.Status) history.Read {
	r := history.Read{Cell: cell, Copies: map[string]history.Copy{}}
	if version != "" {
		r.Copies[key] = history.Copy{State: state("a", "a", version), Status: status}
	}
	return r
}

func TestOwnedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		round history.Round
		bad   bool
	}{
		"in one cell":          {round: history.Round{read("x", "1", ""), read("y", "", ""), read("x", "1", ""), read("y", "", "")}},
		"in two cells":         {round: history.Round{read("x", "1", ""), read("y", "7", ""), read("x", "1", "")}, bad: true},
		"later, too":           {round: history.Round{read("x", "", ""), read("y", "7", ""), read("x", "1", ""), read("y", "7", "")}, bad: true},
		"moved between":        {round: history.Round{read("x", "1", ""), read("y", "7", ""), read("x", "3", history.Migrated), read("y", "7", "")}},
		"changed between":      {round: history.Round{read("x", "1", ""), read("y", "7", ""), read("x", "3", "")}},
		"a copy is on its way": {round: history.Round{read("x", "1", ""), read("y", "7", history.Incoming), read("x", "1", "")}},
		"a tombstone":          {round: history.Round{read("x", "1", history.Migrated), read("y", "7", ""), read("x", "1", history.Migrated), read("y", "7", "")}},
	} {
		if problems := validate.OwnedOnce([]history.Round{c.round}); len(problems) > 0 != c.bad {
			t.Errorf("%s: %q", name, problems)
		}
	}
}

func TestFrozen(t *testing.T) {
	at := func(status history.Status, mark string, replicas int64) history.Event {
		return history.Event{Type: history.Modified, Key: key, Status: status, State: history.State{Born: "a", Mark: mark, Replicas: replicas}}
	}
	reported := at("migrated", "a", 1)
	reported.State.Reported = 5
	early := reported
	early.Status = history.Migrating
	for name, c := range map[string]struct {
		events []history.Event
		bad    bool
	}{
		"a move":                    {events: []history.Event{at("", "a", 1), at("migrating", "a", 1), at("migrated", "a", 1)}},
		"written before":            {events: []history.Event{at("", "a", 1), at("", "b", 1), at("migrating", "b", 1)}},
		"written while it moves":    {events: []history.Event{at("migrating", "a", 1), at("migrating", "b", 1)}, bad: true},
		"flipped otherwise":         {events: []history.Event{at("migrating", "a", 1), at("migrated", "b", 1)}, bad: true},
		"scaled before the copy":    {events: []history.Event{at("migrating", "a", 1), at("migrating", "a", 2), at("migrated", "a", 2)}},
		"scaled when it is gone":    {events: []history.Event{at("migrated", "a", 1), at("migrated", "a", 2)}, bad: true},
		"reported while it moves":   {events: []history.Event{at("migrating", "a", 1), early}, bad: true},
		"reported at the flip":      {events: []history.Event{at("migrating", "a", 1), reported}, bad: true},
		"reported when it is gone":  {events: []history.Event{at("migrated", "a", 1), reported}, bad: true},
		"deleted while it moves":    {events: []history.Event{at("migrating", "a", 1), {Type: history.Deleted, Key: key}}, bad: true},
		"deleted when it is gone":   {events: []history.Event{at("migrated", "a", 1), {Type: history.Deleted, Key: key}}},
		"a copy is written":         {events: []history.Event{at("incoming", "a", 1), at("incoming", "b", 2), at("", "b", 2), at("", "c", 2)}},
		"a copy is shown otherwise": {events: []history.Event{at("incoming", "a", 1), at("", "b", 1)}, bad: true},
		"a copy is taken back":      {events: []history.Event{at("incoming", "a", 1), {Type: history.Deleted, Key: key}}},
		"a tombstone comes back":    {events: []history.Event{at("migrated", "a", 1), at("incoming", "b", 2), at("", "b", 2)}},
		"read anew":                 {events: []history.Event{at("migrating", "a", 1), {Type: history.Relisted}, at("migrating", "b", 1)}},
		"deleted, and made again":   {events: []history.Event{at("migrated", "a", 1), {Type: history.Deleted, Key: key}, at("migrated", "b", 1)}},
	} {
		if problems := validate.Frozen([]history.Told{{Name: "x", Events: c.events}}); len(problems) > 0 != c.bad {
			t.Errorf("%s: %q", name, problems)
		}
	}
}

func TestPlaced(t *testing.T) {
	shown := map[string]history.State{key: state("a", "a", "1001")}
	other := read("x", "1", "")
	other.Copies[key] = history.Copy{State: state("a", "b", "1")}
	for name, c := range map[string]struct {
		cells []history.Read
		shown map[string]history.State
		bad   bool
	}{
		"good":             {cells: []history.Read{read("x", "1", ""), read("y", "7", history.Migrated)}, shown: shown},
		"in two cells":     {cells: []history.Read{read("x", "1", ""), read("y", "7", "")}, shown: shown, bad: true},
		"in the wrong one": {cells: []history.Read{read("x", "", ""), read("y", "7", "")}, shown: shown, bad: true},
		"half moved":       {cells: []history.Read{read("x", "1", history.Migrating), read("y", "7", history.Incoming)}, shown: shown, bad: true},
		"a copy is left":   {cells: []history.Read{read("x", "1", ""), read("y", "7", history.Incoming)}, shown: shown, bad: true},
		"shown, nowhere":   {cells: []history.Read{read("x", "", "")}, shown: shown, bad: true},
		"not shown":        {cells: []history.Read{read("x", "1", "")}, bad: true},
		"shown otherwise":  {cells: []history.Read{other}, shown: shown, bad: true},
	} {
		problems := validate.Placed(c.cells, func(string) string { return "x" }, c.shown)
		if len(problems) > 0 != c.bad {
			t.Errorf("%s: %q", name, problems)
		}
	}
}
