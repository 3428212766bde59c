package mirror

import (
	"slices"
	"strconv"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// TestACellThatWasRestoredHasNotWhatItHad: its versions count from an earlier one again, and what it does not list is gone,
// whatever version that had.
func TestACellThatWasRestoredHasNotWhatItHad(t *testing.T) {
	m := betweenTwo(t)
	b := &cell{m: m, name: "b", queue: newQueue(), index: map[string]*entry{}}
	defer b.queue.ShutDown()
	a := &cell{m: m, name: "a", queue: newQueue(), index: map[string]*entry{}, indexed: true}
	defer a.queue.ShutDown()
	m.cells["a"], m.cells["b"] = a, b
	m.members["a"], m.members["b"] = true, true
	s := &stream{cell: a, class: placement.Sharded, rule: placement.NamespacedName, progress: newProgress()}
	items := itemsOf(m, "a", 3)
	// sealed are envelopes of an object's state, at versions of their own.
	sealed := func(it *item, version, secretVersion int64) *entry {
		return &entry{id: it.id, source: "a", unit: it.id.namespace + "/" + it.id.name, uid: "1", version: version, secretVersion: strconv.FormatInt(secretVersion, 10)}
	}
	found := map[string]*entry{}
	for i, it := range items {
		it.records = records{{stream: s, uid: "1", version: 7}}
		found[it.name] = sealed(it, 7, int64(100+i))
	}
	m.indexed(b, found, 110)
	if n := m.bySource()["a"]; n != 3 || len(s.progress.open) != 0 {
		t.Fatalf("%d envelopes, %d objects open; want 3, 0", n, len(s.progress.open))
	}
	// The second one was changed after the copy was made, and the third one was not there yet.
	m.indexed(b, map[string]*entry{items[0].name: sealed(items[0], 7, 100), items[1].name: sealed(items[1], 3, 50)}, 105)
	var open []*item
	for _, it := range items {
		if b.index[it.name] == nil {
			open = append(open, it)
		}
	}
	if n := m.bySource()["a"]; n != 2 || !slices.Equal(open, items[2:]) || b.index[items[1].name].version != 3 {
		t.Errorf("%d envelopes are known, %d are not, the second has version %d; want 2, the third one, 3", n, len(open), b.index[items[1].name].version)
	}
	if _, waits := s.progress.open[items[2].records[0]]; !waits {
		t.Error("the object whose envelope is gone is not open")
	}
}
