package stream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

func TestStreamsWriteInTheOrderOfTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &Journal{}
		a, b := newPlane(1), newPlane(2)
		late := newPlane(1) // the same cell, as the second stream hears of it
		first := run(t, Config{Journal: journal, Sources: []Source{a.source(t, 0), b.source(t, 0)}})
		second := run(t, Config{Journal: journal, Sources: []Source{late.source(t, 0), b.source(t, 0)}})
		synctest.Wait()
		a.write("ADDED", "x")
		first.expect("ADDED x 2001")
		b.write("ADDED", "y")
		first.expect("ADDED y 2002")
		synctest.Wait()
		if n := len(second.events); n != 0 {
			t.Fatalf("the second stream writes %s before x", second.next())
		}
		late.write("ADDED", "x")
		second.expect("ADDED x 2001", "ADDED y 2002")
	})
}

func TestACellThatHangsDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &Journal{}
		a, b, hung := newPlane(1), newPlane(2), newPlane(1)
		first := run(t, Config{Journal: journal, Sources: []Source{a.source(t, 0), b.source(t, 0)}})
		second := run(t, Config{Journal: journal, Sources: []Source{hung.source(t, 0), b.source(t, 0)}})
		synctest.Wait()
		a.write("ADDED", "x")
		first.expect("ADDED x 2001")
		b.write("ADDED", "y")
		first.expect("ADDED y 2002")
		began := time.Now()
		second.expect("ADDED y 2002")
		if waited := time.Since(began); waited > holdLimit {
			t.Errorf("y waited for %s", waited)
		}
		// A client that comes back with y may be the second stream's, which has not seen x.
		journal.mu.Lock()
		defer journal.mu.Unlock()
		if at := journal.entries[1].stood.Raw(1); at >= 2 {
			t.Errorf("a client that knows y would go on in cell-1 behind %d and miss x", at)
		}
	})
}

func TestAJournalKnowsWhereItsStreamsStood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &Journal{}
		a, b := newPlane(1), newPlane(2)
		c := run(t, Config{Journal: journal, Sources: []Source{a.source(t, 0), b.source(t, 0)}})
		synctest.Wait()
		a.write("ADDED", "x")
		c.expect("ADDED x 2001")
		b.write("ADDED", "y")
		b.write("ADDED", "z")
		c.expect("ADDED y 2002", "ADDED z 3002")
		at, ok := stood(journal, 2, 2)
		if diff := cmp.Diff(version.Vector{0, 2, 2}, at); !ok || diff != "" {
			t.Errorf("stood = %v, %v: %s", at, ok, diff)
		}
		if _, ok := stood(journal, 2, 9); ok {
			t.Error("an event that never was is known")
		}
	})
}

func stood(j *Journal, slot int, v int64) (version.Vector, bool) {
	at, _, _ := j.find("", slot, v)
	return at, at != nil
}

// written is a journal in use that has an entry.
func written(t *testing.T, journals *Journals, scope Scope) (release func(time.Time)) {
	t.Helper()
	journal, release := journals.Acquire(scope, time.Now())
	journal.mu.Lock()
	defer journal.mu.Unlock()
	journal.enter(1, 7, version.Vector{0, 7, 3})
	return release
}

func TestJournalsAreForgottenWhenNobodyComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var journals Journals
		scope := Scope{Resource: "configmaps"}
		release := written(t, &journals, scope)
		release(time.Now())
		time.Sleep(journalLinger)
		again := written(t, &journals, scope)
		if len(journals.scopes) != 1 || journals.scopes[scope].end() != 1 {
			t.Error("a journal is forgotten too early")
		}
		again(time.Now())
		_, empty := journals.Acquire(Scope{Resource: "secrets"}, time.Now())
		empty(time.Now())
		if len(journals.scopes) != 1 {
			t.Error("a journal without entries is kept")
		}
		time.Sleep(journalLinger + time.Second)
		journals.Acquire(Scope{Resource: "services"}, time.Now())
		if _, kept := journals.scopes[scope]; kept {
			t.Error("a journal is kept for ever")
		}
	})
}

func TestJournalsAreBounded(t *testing.T) {
	var journals Journals
	for i := range maxScopes + 10 {
		journals.Acquire(Scope{LabelSelector: fmt.Sprint(i)}, time.Now())
	}
	journals.Acquire(Scope{FieldSelector: strings.Repeat("x", maxSelector+1)}, time.Now())
	if len(journals.scopes) > maxScopes {
		t.Errorf("%d journals are kept", len(journals.scopes))
	}
}

// TestManyJournalsAreShort: what all of them take is bounded, also where some were long before the others came.
func TestManyJournalsAreShort(t *testing.T) {
	const cells = 64
	var journals Journals
	for i := range maxScopes {
		journal, _ := journals.Acquire(Scope{LabelSelector: fmt.Sprint(i)}, time.Now())
		events := journalLength
		if i > maxScopes/8 {
			events /= 4 // it is as long as it gets
		}
		for v := range int64(events) {
			journal.enter(1, v+1, make(version.Vector, cells))
		}
	}
	bytes := 0
	for scope, journal := range journals.scopes {
		if len(journal.entries) < shortestJournal/2 {
			t.Fatalf("the journal of %+v has %d entries", scope, len(journal.entries))
		}
		bytes += len(journal.entries) * (int(unsafe.Sizeof(entry{})) + 8*cells)
	}
	if bytes > 4*journalBytes {
		t.Errorf("%d journals take %d MiB", len(journals.scopes), bytes>>20)
	}
}

// Only who read an event in a stream of the scope knows what was written before it. Anybody else may have its
// version from the answer to a write, or from a stream that wrote in another order.
func TestAnEventIsExactForItsReadersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var journals Journals
		scope := Scope{Resource: "configmaps"}
		journal, _ := journals.Acquire(scope, time.Now())
		a, b := newPlane(1), newPlane(2)
		c := run(t, Config{Journal: journal, Reader: "reader", Sources: []Source{a.source(t, 0), b.source(t, 0)}})
		synctest.Wait()
		a.write("ADDED", "x")
		c.expect("ADDED x 2001")
		b.write("ADDED", "y")
		c.expect("ADDED y 2002")
		want := version.Vector{0, 2, 2}
		if diff := cmp.Diff(Known{Exact: want, AtMost: want}, journals.Find(scope, "reader", 2, 2)); diff != "" {
			t.Errorf("the reader: %s", diff)
		}
		if diff := cmp.Diff(Known{AtMost: want}, journals.Find(scope, "writer", 2, 2)); diff != "" {
			t.Errorf("somebody else: %s", diff)
		}
		other := Scope{Resource: "configmaps", Namespace: "one"}
		if diff := cmp.Diff(Known{AtMost: want}, journals.Find(other, "reader", 2, 2)); diff != "" {
			t.Errorf("the reader in another scope: %s", diff)
		}
		if diff := cmp.Diff(Known{}, journals.Find(Scope{Resource: "secrets"}, "reader", 2, 2)); diff != "" {
			t.Errorf("another resource: %s", diff)
		}
	})
}

func TestWhatIsForgottenIsToldApart(t *testing.T) {
	var journals Journals
	scope := Scope{Resource: "configmaps"}
	journal, _ := journals.Acquire(scope, time.Now())
	for v := range int64(journalLength + 1) {
		journal.enter(1, v+1, version.Vector{0, v + 1})
	}
	if known := journals.Find(scope, "", 1, 1); !known.Forgotten || known.AtMost != nil {
		t.Errorf("the first event of many: %+v", known)
	}
	if known := journals.Find(scope, "", 1, journalLength+1); known.Forgotten || known.AtMost == nil {
		t.Errorf("the last event: %+v", known)
	}
	if known := journals.Find(scope, "", 1, journalLength+2); known.Forgotten || known.AtMost != nil {
		t.Errorf("an event that is to come: %+v", known)
	}
}

// TestWhatNoJournalKeepsIsForgotten: where a stream has a journal that nobody shares, nobody finds where it stood, in
// whatever scope he asks.
func TestWhatNoJournalKeepsIsForgotten(t *testing.T) {
	var journals Journals
	for i := range maxScopes {
		journals.Acquire(Scope{Resource: "secrets", LabelSelector: fmt.Sprint(i)}, time.Now())
	}
	all := Scope{Resource: "configmaps"}
	for i, unshared := range []Scope{
		{Resource: "configmaps", LabelSelector: strings.Repeat("x", maxSelector+1)},
		{Resource: "configmaps", Namespace: "beyond"},
	} {
		v := int64(10 * (i + 1))
		for _, scope := range []Scope{unshared, all} {
			if known := journals.Find(scope, "reader", 1, v); known.Forgotten {
				t.Errorf("before %+v has written %d: %+v", unshared, v, known)
			}
		}
		journal, release := journals.Acquire(unshared, time.Now())
		journal.enter(1, v, version.Vector{0, v, 3})
		release(time.Now())
		for _, scope := range []Scope{unshared, all} {
			if known := journals.Find(scope, "reader", 1, v); !known.Forgotten {
				t.Errorf("when %.80v has written %d, in %.80v: %+v", unshared, v, scope, known)
			}
		}
		if known := journals.Find(all, "reader", 2, 3); known.Forgotten {
			t.Errorf("an event of another cell: %+v", known)
		}
		if known := journals.Find(Scope{Resource: "secrets"}, "reader", 1, v); known.Forgotten {
			t.Errorf("another resource: %+v", known)
		}
	}
}

// TestWhatCameTooLateForItsJournalIsForgotten: a stream that began before the first one of its scope writes what has no
// entry. Where it stood then is not known.
func TestWhatCameTooLateForItsJournalIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var journals Journals
		scope := Scope{Resource: "configmaps"}
		journal, _ := journals.Acquire(scope, time.Now())
		a, b := newPlane(1), newPlane(2)
		for _, name := range []string{"x", "y", "z"} {
			a.write("ADDED", name)
		}
		first := run(t, Config{Journal: journal, Reader: "first", Sources: []Source{a.source(t, 3), b.source(t, 1)}})
		first.expect("ADDED z 4001")
		second := run(t, Config{Journal: journal, Reader: "second", Sources: []Source{a.source(t, 1), b.source(t, 1)}})
		second.expect("ADDED x 2001", "ADDED y 3001", "ADDED z 4001")
		for v, forgotten := range map[int64]bool{2: true, 3: true, 4: false, 5: false} {
			if known := journals.Find(scope, "second", 1, v); known.Forgotten != forgotten || (known.Exact != nil) != (v == 4) {
				t.Errorf("event %d: %+v; want forgotten to be %v", v, known, forgotten)
			}
		}
	})
}

// TestOneScopeHasForgottenWhatAnotherKnows: the client may have read it in either.
func TestOneScopeHasForgottenWhatAnotherKnows(t *testing.T) {
	var journals Journals
	busy, quiet := Scope{Resource: "configmaps"}, Scope{Resource: "configmaps", LabelSelector: "kept"}
	written(t, &journals, quiet)
	written(t, &journals, busy)
	journal, _ := journals.Acquire(busy, time.Now())
	for v := range int64(journalLength) {
		journal.enter(1, v+8, version.Vector{0, v + 8, 3})
	}
	if known := journals.Find(busy, "", 1, 7); !known.Forgotten || known.AtMost == nil || known.Exact != nil {
		t.Errorf("%+v; want it known in one scope, and forgotten in the other", known)
	}
}

// seen is what a client had seen of each slot when it read an event.
type seen struct {
	event    string
	position version.Vector
}

// Whatever cells lag, hang or break off: a client that comes back with the version of the last event that
// it read, and starts where the journal says, misses nothing that it had not seen.
func TestNobodyMissesAnythingByTheJournal(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) { tryJournal(t, rand.New(rand.NewPCG(seed, 0)), seed) })
	}
}

func tryJournal(t *testing.T, random *rand.Rand, seed uint64) {
	journal := &Journal{}
	const cells, streams, writes = 3, 4, 40
	// Each stream has its own view of each cell, which may lag behind the cell.
	var views [streams][cells]*plane
	var clients [streams]*client
	for i := range streams {
		var sources []Source
		for s := range cells {
			views[i][s] = newPlane(s + 1)
			sources = append(sources, views[i][s].source(t, 0))
		}
		clients[i] = run(t, Config{Journal: journal, Sources: sources})
	}
	synctest.Wait()
	for n := range writes {
		slot := random.IntN(cells)
		for i := range streams {
			p := views[i][slot]
			p.write("ADDED", fmt.Sprint("o", n))
			switch random.IntN(12) {
			case 0:
				p.set(func() { p.frozen = true })
			case 1:
				p.cut()
			default:
				p.set(func() { p.frozen = false })
			}
		}
		time.Sleep(time.Duration(random.IntN(3)) * holdLimit / 2)
	}
	for i := range streams {
		for s := range cells {
			views[i][s].set(func() { views[i][s].frozen = false })
		}
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	for i, c := range clients {
		read := 0
		before := version.Vector{0, 1, 1, 1}
		for len(c.events) > 0 {
			e := history(t, c.next(), before)
			read++
			slot, v := parse(t, e.event)
			at, ok := stood(journal, slot, v)
			if !ok {
				t.Fatalf("seed %d: the journal does not know %s", seed, e.event)
			}
			for s := 1; s <= cells; s++ {
				if at.Raw(s) > e.position.Raw(s) {
					t.Errorf("seed %d: stream %d has seen %v when it reads %s; the journal says %v", seed, i, e.position, e.event, at)
				}
			}
		}
		if read != writes {
			t.Errorf("seed %d: stream %d read %d events of %d", seed, i, read, writes)
		}
	}
}

// history moves at on and returns what had been seen with the event.
func history(t *testing.T, event string, at version.Vector) seen {
	slot, v := parse(t, event)
	if v != at.Raw(slot)+1 {
		t.Errorf("%s comes after version %d of its cell", event, at.Raw(slot))
	}
	at.Set(slot, v)
	return seen{event, slices.Clone(at)}
}

func parse(t *testing.T, event string) (slot int, v int64) {
	t.Helper()
	fields := strings.Fields(event)
	parsed, err := version.Parse(fields[len(fields)-1])
	if err != nil || parsed.Object == nil {
		t.Fatalf("%s has no object's version: %v", event, err)
	}
	return parsed.Object.Slot, parsed.Object.Raw
}
