package stream

import (
	"slices"
	"sync"
	"time"
)

const (
	// journalLength is how many events a journal remembers.
	journalLength = 512
	// journalLinger is how long the journal of a scope without streams is kept, for clients that come back.
	journalLinger = 10 * time.Minute
)

// Scope names the streams that get the same events.
type Scope struct {
	Group, Resource, Namespace   string
	LabelSelector, FieldSelector string
}

// Journals are the journals of one router. The zero value is ready to use.
type Journals struct {
	mu sync.Mutex
	// scopes is guarded by mu.
	scopes map[Scope]*Journal
}

// Acquire returns the journal of a scope. The caller releases it when its stream has ended.
func (j *Journals) Acquire(scope Scope, now time.Time) (journal *Journal, release func(now time.Time)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for s, idle := range j.scopes {
		if idle.streams == 0 && now.Sub(idle.since) > journalLinger {
			delete(j.scopes, s)
		}
	}
	if j.scopes == nil {
		j.scopes = map[Scope]*Journal{}
	}
	journal, ok := j.scopes[scope]
	if !ok {
		journal = &Journal{}
		j.scopes[scope] = journal
	}
	journal.streams++
	return journal, func(now time.Time) {
		j.mu.Lock()
		defer j.mu.Unlock()
		journal.streams--
		journal.since = now
	}
}

// Journal is the order in which the streams of one scope write the events of different control planes. An
// apiserver shows the events of one resource to all watchers in the same order; control planes have no
// order between them, so the first stream that writes an event decides, and the others follow.
//
// It also remembers where a stream stood when it had written an event, so that a client which knows the
// last event's version, and nothing else, can go on exactly there.
type Journal struct {
	// streams and since are guarded by the Journals' lock.
	streams int
	since   time.Time

	mu sync.Mutex
	// The rest is guarded by mu. entries[0] has the number first.
	first   int
	entries []entry
	// newest is the highest version of each slot that was ever entered.
	newest position
}

// entry is one event.
type entry struct {
	slot    int
	version int64
	// stood is where the stream stood that wrote the event first. For an event that some stream wrote before
	// another one that is entered earlier it is the lowest of all.
	stood position
}

// Stood returns where a stream stood after the event of that version, and whether that is known. A client
// that saw the event in a stream of this router has seen everything up to there.
func (j *Journal) Stood(slot int, version int64) (position, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		if e.slot == slot && e.version == version {
			return e.stood.Clone(), true
		}
	}
	return nil, false
}

// at returns the entry with a number, and the number, which is higher where that entry is forgotten.
func (j *Journal) at(n int) (entry, int, bool) {
	n = max(n, j.first)
	if n >= j.first+len(j.entries) {
		return entry{}, n, false
	}
	return j.entries[n-j.first], n, true
}

// join returns where a new stream begins to follow: whatever is entered from the first known entry on it may
// still have to write.
func (j *Journal) join() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.first
}

// end is the number that the next entry gets.
func (j *Journal) end() int { return j.first + len(j.entries) }

// enter enters an event that a stream is about to write; stood is where the stream stands then. It does
// nothing where the event is older than the journal.
func (j *Journal) enter(slot int, version int64, stood position) {
	if version <= j.newest.Raw(slot) {
		if n := slices.IndexFunc(j.entries, func(e entry) bool { return e.slot == slot && e.version == version }); n >= 0 {
			j.lower(j.first+n, stood)
		}
		return
	}
	j.newest.Set(slot, version)
	j.entries = append(j.entries, entry{slot, version, stood.Clone()})
	if len(j.entries) > journalLength {
		drop := len(j.entries) - journalLength*3/4
		j.entries = slices.Clone(j.entries[drop:])
		j.first += drop
	}
}

// lower notes that a stream stood at stood after it had written entry n. A client may come back from any of
// the streams, so only the lowest of their places is safe.
func (j *Journal) lower(n int, stood position) {
	e := &j.entries[n-j.first]
	for slot := range e.stood {
		if at := stood.Raw(slot); at < e.stood[slot] {
			e.stood[slot] = at
		}
	}
}
