package validate_test

import (
	"testing"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

func told(at int64, kind history.EventType, s history.State) history.Event {
	return history.Event{At: at, Type: kind, Key: key, State: s}
}

func list(at int64, items ...history.State) history.Event {
	e := history.Event{At: at, Type: history.Relisted, Items: map[string]history.State{}}
	for _, s := range items {
		e.Items[key] = s
	}
	return e
}

func TestWatched(t *testing.T) {
	a, b := state("a", "a", "10"), state("a", "b", "20")
	deleted := op(5, 6, history.Delete, history.OK)
	gone := state("a", "b", "30")
	again := op(7, 8, history.Create, history.OK, mark("c"), seen(state("c", "c", "5")))
	resumed, opened := history.Event{Type: history.Resumed}, history.Event{Type: history.Opened}
	at := func(position string) history.Event {
		return history.Event{Type: history.Bookmarked, Position: position}
	}
	streamed := func(position string) history.Event {
		e := list(0)
		e.Position = position
		return e
	}
	one, two, across := "1"+"0000000000001"+"0000000000009", "1"+"0000000000002"+"0000000000009", "1"+"0000000000003"+"0000000000008"
	for name, c := range map[string]struct {
		events []history.Event
		ops    []history.Op
		final  history.State
		moves  bool
		bad    bool
	}{
		"good":                     {events: []history.Event{list(0), told(2, history.Added, a), told(4, history.Modified, b)}, ops: []history.Op{made(), updated()}, final: b},
		"an event is missing":      {events: []history.Event{list(0), told(4, history.Added, b)}, ops: []history.Op{made(), updated()}, final: b, bad: true},
		"a list stands for it":     {events: []history.Event{list(0), list(3, a), told(4, history.Modified, b)}, ops: []history.Op{made(), updated()}, final: b},
		"it has moved":             {events: []history.Event{list(0), told(4, history.Added, b)}, ops: []history.Op{made(), updated()}, final: b, moves: true},
		"the last is missing":      {events: []history.Event{list(0), told(2, history.Added, a)}, ops: []history.Op{made(), updated()}, final: b, moves: true, bad: true},
		"it goes back":             {events: []history.Event{list(0), told(4, history.Modified, b), told(4, history.Modified, a), told(4, history.Modified, b)}, ops: []history.Op{made(), updated()}, final: b, moves: true, bad: true},
		"it repeats":               {events: []history.Event{list(0), told(2, history.Added, a), told(2, history.Modified, a)}, ops: []history.Op{made()}, final: a, bad: true},
		"it repeats when resumed":  {events: []history.Event{list(0), told(2, history.Added, a), resumed, told(2, history.Modified, a)}, ops: []history.Op{made()}, final: a},
		"a list repeats":           {events: []history.Event{list(0), told(2, history.Added, a), list(3, a)}, ops: []history.Op{made()}, final: a},
		"a list goes back":         {events: []history.Event{list(0), told(4, history.Added, b), list(5, a), list(6, b)}, ops: []history.Op{made(), updated()}, final: b, moves: true, bad: true},
		"deleted":                  {events: []history.Event{list(0), told(2, history.Added, a), told(4, history.Modified, b), told(6, history.Deleted, gone)}, ops: []history.Op{made(), updated(), deleted}},
		"deleted and made again":   {events: []history.Event{list(0), told(2, history.Added, a), told(6, history.Deleted, gone), told(8, history.Added, state("c", "c", "5"))}, ops: []history.Op{made(), deleted, again}, final: state("c", "c", "5")},
		"not told of the deletion": {events: []history.Event{list(0), told(2, history.Added, a)}, ops: []history.Op{made(), deleted}, bad: true},
		"deleted, and is there":    {events: []history.Event{list(0), told(2, history.Added, a), told(3, history.Deleted, a), told(4, history.Added, b)}, ops: []history.Op{made(), updated()}, final: b, bad: true},
		"deleted, and seen later":  {events: []history.Event{list(0), told(2, history.Added, a), told(4, history.Deleted, a)}, ops: []history.Op{made(), deleted, got(5, 6, a)}, bad: true},
		"deleted too early":        {events: []history.Event{list(0), told(2, history.Added, a), told(4, history.Deleted, a)}, ops: []history.Op{made(), deleted}, bad: true},
		"deleted twice":            {events: []history.Event{list(0), told(2, history.Added, a), told(6, history.Deleted, a), told(6, history.Deleted, a)}, ops: []history.Op{made(), deleted}, bad: true},
		"told after its deletion":  {events: []history.Event{list(0), told(2, history.Added, a), told(6, history.Deleted, gone), told(7, history.Modified, state("a", "b", "40")), told(8, history.Deleted, state("a", "b", "50"))}, ops: []history.Op{made(), deleted, op(6, 7, history.Delete, history.OK)}, bad: true},
		"a move is no addition":    {events: []history.Event{list(0), told(2, history.Added, a), told(4, history.Added, b)}, ops: []history.Op{made(), updated()}, final: b, moves: true, bad: true},
		"nor when resumed":         {events: []history.Event{list(0), told(2, history.Added, a), resumed, told(4, history.Added, b)}, ops: []history.Op{made(), updated()}, final: b, moves: true, bad: true},
		"added when resumed":       {events: []history.Event{list(0), told(2, history.Added, a), resumed, told(2, history.Added, a)}, ops: []history.Op{made()}, final: a},
		"added after a list":       {events: []history.Event{list(0), told(2, history.Added, a), list(3), told(4, history.Added, b)}, ops: []history.Op{made(), updated()}, final: b, moves: true},
		"bookmarks":                {events: []history.Event{opened, streamed(one), at(two), at(two + "0000000000001"), opened, at(one), opened, at("99"), at("100")}},
		"a bookmark goes back":     {events: []history.Event{opened, streamed(two), at(one)}, bad: true},
		"a bookmark repeats":       {events: []history.Event{opened, at(one), at(one)}, bad: true},
		"one cell goes back":       {events: []history.Event{opened, at(one), at(across)}, bad: true},
		"a cell is forgotten":      {events: []history.Event{opened, at(two + "0000000000001"), at(across)}, bad: true},
		"something that is not":    {events: []history.Event{list(0), told(2, history.Added, a)}, bad: true},
	} {
		final := map[string]history.State{}
		if c.final != (history.State{}) {
			final[key] = c.final
		}
		problems := validate.Watched([]history.Told{{Name: "w", Events: c.events}}, c.ops, final, func(string) bool { return c.moves })
		if len(problems) > 0 != c.bad {
			t.Errorf("%s: %q", name, problems)
		}
	}
}
