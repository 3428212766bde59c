package stream

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

const (
	// journalLength is how many events a journal remembers, unless there are so many journals that all together would take
	// much more than journalBytes. Each has at least shortestJournal then.
	journalLength   = 512
	shortestJournal = 16
	journalBytes    = 64 << 20
	// journalLinger is how long the journal of a scope without streams is kept, for clients that come back: longer than a
	// control plane's samples are, so that where there are samples there is a journal.
	journalLinger = 20 * time.Minute
	// maxScopes, maxSelector (bytes) and maxReaders bound what clients can make a router remember.
	maxScopes   = 4096
	maxSelector = 4096
	maxReaders  = 256
)

// Scope names the streams that get the same events.
type Scope struct {
	Group, Resource, Namespace   string
	LabelSelector, FieldSelector string
}

func (s Scope) resource() schema.GroupResource {
	return schema.GroupResource{Group: s.Group, Resource: s.Resource}
}

// Journals are the journals of one router. The zero value is ready to use.
type Journals struct {
	mu sync.Mutex
	// scopes is guarded by mu.
	scopes map[Scope]*Journal
	// lost are the journals, by resource, of what is written where nobody shares the journal: they have no entries, and
	// have forgotten all of it. Guarded by mu.
	lost map[schema.GroupResource]*Journal
	// count is how many scopes there are.
	count atomic.Int64
}

// Acquire returns the journal of a scope. The caller releases it when its stream has ended. A scope with very
// long selectors, or beyond a number of scopes, has a journal that nobody shares: what is written there counts as
// forgotten at once.
func (j *Journals) Acquire(scope Scope, now time.Time) (journal *Journal, release func(now time.Time)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	journal, ok := j.scopes[scope]
	if !ok {
		journal = &Journal{count: &j.count}
		j.sweep(now)
		if len(j.scopes) >= maxScopes || len(scope.LabelSelector)+len(scope.FieldSelector) > maxSelector {
			journal.lost = j.lostOf(scope)
			return journal, func(time.Time) {}
		}
		if j.scopes == nil {
			j.scopes = map[Scope]*Journal{}
		}
		j.scopes[scope] = journal
		j.count.Store(int64(len(j.scopes)))
	}
	journal.streams++
	return journal, func(now time.Time) {
		j.mu.Lock()
		defer j.mu.Unlock()
		journal.streams--
		journal.since = now
		if journal.streams == 0 && journal.empty() {
			j.forget(scope)
		}
	}
}

// lostOf is the journal of what is lost of the resource of a scope; mu is held.
func (j *Journals) lostOf(scope Scope) *Journal {
	of := scope.resource()
	if j.lost[of] == nil {
		if j.lost == nil {
			j.lost = map[schema.GroupResource]*Journal{}
		}
		j.lost[of] = &Journal{}
	}
	return j.lost[of]
}

// sweep forgets the journals that nobody has come back to; mu is held.
func (j *Journals) sweep(now time.Time) {
	for s, idle := range j.scopes {
		if idle.streams == 0 && now.Sub(idle.since) > journalLinger {
			j.forget(s)
		}
	}
}

// forget is called while mu is held.
func (j *Journals) forget(scope Scope) {
	delete(j.scopes, scope)
	j.count.Store(int64(len(j.scopes)))
}

// Known is what the journals know of one event.
type Known struct {
	// Exact is where the client stood when it read the event in a stream of the same scope; nil where it did not.
	Exact version.Vector
	// AtMost are places behind which no stream was, in any cell, that is known to have written the event; nil where none
	// did.
	AtMost version.Vector
	// Forgotten is set where a stream may have written the event of which that is not known, or not any more. Of where
	// that one stood AtMost says nothing.
	Forgotten bool
}

// Find looks for an event among all streams of a resource. What reader has read in a stream of the scope is
// exact; what others have read, or what was read in another scope, only bounds how far the reader has come.
func (j *Journals) Find(scope Scope, reader string, slot int, version int64) Known {
	j.mu.Lock()
	var same []*Journal
	own := j.scopes[scope]
	for s, journal := range j.scopes {
		if s.resource() == scope.resource() {
			same = append(same, journal)
		}
	}
	if lost := j.lost[scope.resource()]; lost != nil {
		same = append(same, lost)
	}
	j.mu.Unlock()
	var out Known
	for _, journal := range same {
		stood, exact, forgotten := journal.find(reader, slot, version)
		out.Forgotten = out.Forgotten || forgotten
		if stood == nil {
			continue
		}
		if exact && journal == own {
			out.Exact = stood
		}
		out.AtMost = lowest(out.AtMost, stood)
	}
	return out
}

// lowest is the lower of two places in each cell; nil is no place at all.
func lowest(a, b position) position {
	if a == nil {
		return b
	}
	for slot := range a {
		a[slot] = min(a[slot], b.Raw(slot))
	}
	return a
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
	// count is how many journals share the memory; nil where this is the only one.
	count *atomic.Int64
	// lost is the journal of what is written here, where nobody else finds this one; nil where others do.
	lost *Journal

	mu sync.Mutex
	// The rest is guarded by mu. entries[0] has the number first.
	first   int
	entries []entry
	// newest is the highest version of each slot that was ever entered, forgotten the highest that was written and is not
	// among the entries.
	newest, forgotten position
	// readers are those whose streams wrote entries, and which.
	readers map[string]*span
}

// span are the numbers of the entries that a reader has read in one stream after the other.
type span struct{ from, to int }

// entry is one event.
type entry struct {
	slot    int
	version int64
	// stood is where the stream stood that wrote the event first. For an event that some stream wrote before
	// another one that is entered earlier it is the lowest of all.
	stood position
}

// find returns where the streams stood, at the lowest, that wrote an event; exact says that the reader read it
// in one of them.
func (j *Journal) find(reader string, slot int, version int64) (stood position, exact, forgotten bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, e := range j.entries {
		if e.slot != slot || e.version != version {
			continue
		}
		read := j.readers[reader]
		n := j.first + i
		return e.stood.Clone(), read != nil && read.from <= n && n <= read.to, false
	}
	return nil, false, version <= j.forgotten.Raw(slot)
}

func (j *Journal) empty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.entries) == 0
}

// read notes that a reader has read entry n.
func (j *Journal) read(reader string, n int) {
	seen := j.readers[reader]
	switch {
	case seen != nil && n >= seen.from && n <= seen.to+1:
		seen.to = max(seen.to, n)
	case seen == nil && len(j.readers) >= maxReaders:
	default:
		if j.readers == nil {
			j.readers = map[string]*span{}
		}
		j.readers[reader] = &span{from: n, to: n}
	}
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

// enter enters an event that a stream is about to write; stood is where the stream stands then. It returns
// the number of the entry, and false where the event is older than the journal.
func (j *Journal) enter(slot int, version int64, stood position) (int, bool) {
	if j.lost != nil {
		j.lost.lose(slot, version)
	}
	if version <= j.newest.Raw(slot) {
		n := slices.IndexFunc(j.entries, func(e entry) bool { return e.slot == slot && e.version == version })
		if n < 0 {
			j.forget(slot, version)
			return 0, false
		}
		j.lower(j.first+n, stood)
		return j.first + n, true
	}
	j.newest.Set(slot, version)
	j.entries = append(j.entries, entry{slot, version, stood.Clone()})
	if limit := j.limit(len(stood)); len(j.entries) > limit {
		drop := len(j.entries) - limit*3/4
		for _, e := range j.entries[:drop] {
			j.forget(e.slot, e.version)
		}
		j.entries = slices.Clone(j.entries[drop:])
		j.first += drop
	}
	return j.end() - 1, true
}

// forget notes that an event was written that is not among the entries.
func (j *Journal) forget(slot int, version int64) {
	j.forgotten.Set(slot, max(version, j.forgotten.Raw(slot)))
}

// lose forgets an event that was written elsewhere.
func (j *Journal) lose(slot int, version int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.forget(slot, version)
}

// limit is how many entries of so many slots the journal may have now.
func (j *Journal) limit(slots int) int {
	journals := int64(1)
	if j.count != nil {
		journals = max(1, j.count.Load())
	}
	each := int64(unsafe.Sizeof(entry{})) + int64(slots)*int64(unsafe.Sizeof(int64(0)))
	return int(min(journalLength, max(shortestJournal, journalBytes/(journals*each))))
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
