package validate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// Watched says what watchers were told wrongly:
//
//   - a version of an object below an earlier one, or the same one twice though the watch was opened at a position
//     that is exact;
//   - the deletion of an object that nobody deletes, or that somebody sees later, or that is there at the end;
//   - an object after its deletion;
//   - an object that is known as new, by ADDED: one that moves is changed, to whoever watches;
//   - a position, by a bookmark, that is not beyond the one before in the same watch;
//   - not the version that a write made, of a key that does not move: of one that does, what the old cell tells after
//     the object has arrived is dropped;
//   - something else, at the end, than final, which is all objects as routers show them.
//
// After a list that was asked for again nothing of before has to be told any more.
func Watched(streams []history.Told, ops []history.Op, final map[string]history.State, moves func(key string) bool) []string {
	seen := index(ops)
	var out []string
	for _, stream := range streams {
		w := &watcher{
			seen: seen, final: final, view: map[string]history.State{}, gone: map[string]bool{},
			newest: map[string]string{}, deletions: map[string]int{}, told: map[string]bool{},
		}
		for _, e := range stream.Events {
			w.next(e)
		}
		w.gaps(ops, moves)
		w.end()
		for _, problem := range w.problems {
			out = append(out, stream.Name+": "+problem)
		}
	}
	return out
}

// evidence is what clients know of the life of objects.
type evidence struct {
	// deletes are the times of the calls that may have deleted an object of the key, in order.
	deletes map[string][]int64
	// lives is the time of the last call whose answer showed the object, by its birth.
	lives map[string]int64
}

func index(ops []history.Op) evidence {
	e := evidence{deletes: map[string][]int64{}, lives: map[string]int64{}}
	for _, op := range ops {
		if op.Verb == history.Delete && op.MayHaveWritten() {
			e.deletes[op.Key] = append(e.deletes[op.Key], op.Call)
		}
		if op.Outcome == history.OK && op.Verb != history.Delete && op.Seen.Born != "" {
			e.lives[op.Seen.Born] = max(e.lives[op.Seen.Born], op.Call)
		}
	}
	for _, times := range e.deletes {
		slices.Sort(times)
	}
	return e
}

// watcher replays one stream.
type watcher struct {
	seen  evidence
	final map[string]history.State

	view      map[string]history.State
	newest    map[string]string // the version last told, by birth
	gone      map[string]bool   // births that were told to be deleted
	deletions map[string]int    // how many were told, by key
	told      map[string]bool   // key and version
	listed    int64             // when the last list came
	resumed   bool              // from an object's version: events of other cells may repeat
	position  string            // of the last bookmark of this watch, empty where there was none
	problems  []string
}

func (w *watcher) say(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

func (w *watcher) next(e history.Event) {
	switch e.Type {
	case history.Opened:
		w.position = ""
	case history.Bookmarked:
		w.stands(e.Position)
	case history.Relisted:
		w.listed, w.resumed = e.At, false
		w.stands(e.Position)
		for _, key := range slices.Sorted(maps.Keys(e.Items)) {
			w.object(key, e.Items[key], e)
		}
	case history.Resumed:
		w.resumed = true
	case history.Deleted:
		w.deleted(e)
	default:
		w.object(e.Key, e.State, e)
	}
	history.Apply(w.view, e)
}

func (w *watcher) object(key string, s history.State, e history.Event) {
	w.told[key+" "+s.Version] = true
	if w.gone[s.Born] {
		w.say("%s %s after its deletion: %+v", e.Type, key, s)
	}
	last := w.newest[s.Born]
	switch {
	case last == "" || newer(s.Version, last):
		w.newest[s.Born] = s.Version
	case s.Version != last:
		w.say("%s %s goes back from version %s to %+v", e.Type, key, last, s)
	case !w.resumed && e.Type != history.Relisted:
		w.say("%s %s repeats %+v", e.Type, key, s)
	}
	// What repeats, or goes back, is judged above.
	if known := w.view[key]; e.Type == history.Added && known.Born == s.Born && known.Version != s.Version {
		w.say("ADDED %s %+v, which is known as %+v", key, s, known)
	}
}

// stands takes a position that a bookmark tells. An empty one says nothing.
func (w *watcher) stands(position string) {
	if position == "" {
		return
	}
	if w.position != "" && !beyond(position, w.position) {
		w.say("BOOKMARK %s after %s", position, w.position)
	}
	w.position = position
}

// fieldDigits is how many digits a position has for each control plane, behind a leading 1. A cell's own is shorter than two
// of them.
const fieldDigits = 13

// beyond says whether a position is further than another one: no control plane's part of it is less, and one is more.
func beyond(now, before string) bool {
	if !newer(now, before) || len(now) <= 2*fieldDigits || len(before) <= 2*fieldDigits {
		return newer(now, before)
	}
	for i := 1; i < len(before); i += fieldDigits {
		if now[i:min(i+fieldDigits, len(now))] < before[i:min(i+fieldDigits, len(before))] {
			return false
		}
	}
	return true
}

func (w *watcher) deleted(e history.Event) {
	w.deletions[e.Key]++
	w.gone[e.State.Born] = true
	before, _ := slices.BinarySearch(w.seen.deletes[e.Key], e.At)
	switch {
	case before < w.deletions[e.Key] && !w.resumed:
		w.say("DELETED %s %+v, and only %d deletions had been asked for", e.Key, e.State, before)
	case w.seen.lives[e.State.Born] > e.At:
		w.say("DELETED %s %+v, which a client saw later", e.Key, e.State)
	case w.final[e.Key].Born == e.State.Born:
		w.say("DELETED %s %+v, which is there at the end", e.Key, e.State)
	case before == 0:
		w.say("DELETED %s %+v, which nobody deleted", e.Key, e.State)
	}
}

// gaps looks for acknowledged writes, since the last list, that the watcher was not told.
func (w *watcher) gaps(ops []history.Op, moves func(string) bool) {
	for _, op := range ops {
		if op.Outcome != history.OK || !op.Writes() || op.Verb == history.Delete || op.Seen.Version == "" {
			continue
		}
		if op.Call > w.listed && !moves(op.Key) && !w.told[op.Key+" "+op.Seen.Version] {
			w.say("was not told of %s", op)
		}
	}
}

func (w *watcher) end() {
	for _, key := range slices.Sorted(maps.Keys(w.final)) {
		if w.view[key] != w.final[key] {
			w.say("%s is known as %+v at the end, and is %+v", key, w.view[key], w.final[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.view)) {
		if _, there := w.final[key]; !there {
			w.say("%s is known as %+v at the end, and is gone", key, w.view[key])
		}
	}
}
