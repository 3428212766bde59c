package mirror

import (
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// TestWhatWaitsForItsRehearsalIsBounded: what has gone by its turn takes none, what found too many others waiting is found by
// a round, and neither of the two waits for all of the other.
func TestWhatWaitsForItsRehearsalIsBounded(t *testing.T) {
	m := betweenTwo(t)
	now := time.Now()
	m.config.Now = func() time.Time { return now }
	b := &cell{m: m, name: "b", index: map[string]*entry{}}
	m.cells["b"] = b
	r := newRehearsals(b)
	next := func() *item {
		now = now.Add(m.config.RehearseEvery)
		it := r.next()
		if it != nil {
			it.note("b", proof{uid: types.UID(it.name), shape: 2, at: now})
		}
		return it
	}
	items := itemsOf(m, "a", 2*wantedLimit)
	for _, it := range items {
		uid := types.UID(it.name)
		b.index[it.name] = &entry{id: it.id, source: "a", uid: uid}
		it.note("b", proof{uid: uid, shape: 1, at: now.Add(-2 * rarely)})
		r.want(it, uid, 2, 2)
		r.want(it, uid, 2, 2)
	}
	if len(r.wanted) != wantedLimit {
		t.Errorf("%d wait; want %d", len(r.wanted), wantedLimit)
	}
	left := items[wantedLimit-1]
	for _, it := range items[:wantedLimit-1] {
		delete(b.index, it.name)
		m.tidy(it)
	}
	seen := map[*item]bool{next(): true, next(): true}
	if !seen[left] || len(seen) != 2 || seen[nil] {
		t.Error("neither what is left of the first ones is rehearsed at once, or no other beside it")
	}
	for range 2 * wantedLimit {
		if it := next(); it != nil {
			seen[it] = true
		}
	}
	if len(seen) != wantedLimit+1 {
		t.Errorf("%d are rehearsed; want %d", len(seen), wantedLimit+1)
	}
	for _, it := range items[wantedLimit-1:] {
		if !seen[it] {
			t.Fatalf("%s is not rehearsed", it.id)
		}
	}
}

// TestWhatWasRefusedIsRehearsedBeforeTheRest, as it is where another daemon has said so, and not again at once.
func TestWhatWasRefusedIsRehearsedBeforeTheRest(t *testing.T) {
	m := betweenTwo(t)
	b := &cell{m: m, name: "b", index: map[string]*entry{}}
	m.cells["b"] = b
	items := itemsOf(m, "a", 2*roundLength)
	for _, it := range items {
		b.index[it.name] = &entry{id: it.id, source: "a", uid: types.UID(it.name)}
	}
	refused := items[roundLength]
	refused.refusal = &refusal{uid: types.UID(refused.name), cell: "b", stored: true}
	m.suspects[refused] = struct{}{}
	for _, test := range []struct {
		at    time.Time
		first bool
	}{{time.Time{}, true}, {time.Now().Add(-2 * refusedAgain), true}, {time.Now(), false}} {
		refused.note("b", proof{uid: types.UID(refused.name), at: test.at, refused: true})
		round := newRehearsals(b).stale()
		if len(round) != roundLength || (round[0] == refused) != test.first || slices.Contains(round, refused) != test.first {
			t.Errorf("rehearsed at %s: a round of %d; want %d, and it to be the first of them: %v", test.at, len(round), roundLength, test.first)
		}
	}
}
