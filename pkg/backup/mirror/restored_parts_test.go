package mirror

import (
	"slices"
	"strconv"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// restored is a cell with the envelopes of another one's objects, at versions from 100 on, of which 110 was told last.
type restored struct {
	*Mirror
	backup *cell
	source *stream
	items  []*item
}

func newRestored(t *testing.T, n int) *restored {
	t.Helper()
	r := &restored{Mirror: betweenTwo(t)}
	for _, name := range []string{"a", "b"} {
		r.cells[name] = &cell{m: r.Mirror, name: name, queue: newQueue(), index: map[string]*entry{}, indexed: name == "a"}
		t.Cleanup(r.cells[name].queue.ShutDown)
		r.members[name] = true
	}
	r.backup = r.cells["b"]
	r.source = &stream{cell: r.cells["a"], class: placement.Sharded, rule: placement.NamespacedName, progress: newProgress()}
	r.items = itemsOf(r.Mirror, "a", n)
	found := map[string]*entry{}
	for i, it := range r.items {
		it.records = records{{stream: r.source, uid: "1", version: 7}}
		found[it.name] = sealedAt(it, 7, int64(100+i))
	}
	r.indexed(r.backup, found, 110)
	if got := r.bySource()["a"]; got != int64(n) || len(r.source.progress.open) != 0 {
		t.Fatalf("%d envelopes, %d objects open; want %d, 0", got, len(r.source.progress.open), n)
	}
	return r
}

// sealedAt is an envelope of an object's state, at a version of its own.
func sealedAt(it *item, version, secretVersion int64) *entry {
	return &entry{id: it.id, source: "a", unit: it.id.namespace + "/" + it.id.name, uid: "1", version: version, secretVersion: strconv.FormatInt(secretVersion, 10)}
}

// TestACellThatWasRestoredHasNotWhatItHad, however its versions count then: from an earlier one, as far as they were told by the
// time somebody looks, or from one that was never there. No mark passes what it lacks.
func TestACellThatWasRestoredHasNotWhatItHad(t *testing.T) {
	for what, version := range map[string]int64{"they go back": 105, "they have come as far": 110, "they were raised": 1_000_000_050} {
		t.Run(what, func(t *testing.T) {
			r := newRestored(t, 3)
			// The second one was changed after the copy was made, and the third one was not there yet.
			r.indexed(r.backup, map[string]*entry{
				r.items[0].name: sealedAt(r.items[0], 7, 100), r.items[1].name: sealedAt(r.items[1], 3, 50),
			}, version)
			var gone []*item
			for _, it := range r.items {
				if r.backup.index[it.name] == nil {
					gone = append(gone, it)
				}
			}
			if n := r.bySource()["a"]; n != 2 || !slices.Equal(gone, r.items[2:]) || r.backup.index[r.items[1].name].version != 3 {
				t.Errorf("%d envelopes are known, %d are not, the second has version %d; want 2, the third one, 3", n, len(gone), r.backup.index[r.items[1].name].version)
			}
			for i, want := range []bool{false, true, true} {
				if _, waits := r.source.progress.open[r.items[i].records[0]]; waits != want {
					t.Errorf("object %d is open: %t; want %t", i, waits, want)
				}
			}
		})
	}
}

// TestWhatIsWrittenWhileACellIsListedStays: the list has it as it was before, and nothing was restored.
func TestWhatIsWrittenWhileACellIsListedStays(t *testing.T) {
	r := newRestored(t, 1)
	it := r.items[0]
	r.backup.put(it.name, sealedAt(it, 7, 112))
	r.indexed(r.backup, map[string]*entry{it.name: sealedAt(it, 6, 100)}, 111)
	if got := r.backup.index[it.name]; got.version != 7 || got.suspect || len(r.source.progress.open) != 0 {
		t.Errorf("the index has %+v, and %d objects are open; want what was written last, and none", got, len(r.source.progress.open))
	}
}
