package mirror

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// TestARefusalOutlivesAListThatIsMadeAgain: while a resource of its cell is listed anew nothing is known of the object.
func TestARefusalOutlivesAListThatIsMadeAgain(t *testing.T) {
	m := betweenTwo(t)
	s := &stream{cell: &cell{m: m, name: "a"}, class: placement.Sharded, rule: placement.NamespacedName, progress: newProgress()}
	it := itemsOf(m, "a", 1)[0]
	it.refusal = &refusal{uid: "1", version: 2, cell: "b", stored: true, listed: true}
	m.suspects[it] = struct{}{}
	for _, step := range []struct {
		what string
		of   records
		want int
	}{
		{"as it is", records{{stream: s, uid: "1", version: 2}}, 1},
		{"while nothing is known", nil, 0},
		{"listed again", records{{stream: s, uid: "1", version: 3}}, 1},
		{"made anew", records{{stream: s, uid: "2", version: 4}}, 0},
		{"as it was", records{{stream: s, uid: "1", version: 3}}, 0},
	} {
		it.records = step.of
		if named, _ := m.nameUnprotected(); len(named["a"]) != step.want {
			t.Errorf("%s: %+v is named; want %d", step.what, named["a"], step.want)
		}
	}
}

// TestWhatWasCountedAsRefusedCounts until what was there is rehearsed: nobody knows the names of it.
func TestWhatWasCountedAsRefusedCounts(t *testing.T) {
	m := betweenTwo(t)
	for _, name := range []string{"a", "b"} {
		m.cells[name] = &cell{m: m, name: name, pace: newPace(m.config.Now), queue: newQueue(), index: map[string]*entry{}}
		defer m.cells[name].queue.ShutDown()
		m.members[name] = true
	}
	a, b := m.cells["a"], m.cells["b"]
	a.discovered, a.indexed = true, true
	wants := func(want int64, when string) {
		t.Helper()
		reports := m.reports()
		if len(reports) != 1 || reports[0].Unnamed != want {
			t.Errorf("%s: %+v; want %d to count as refused", when, reports, want)
		}
	}
	a.published = &Mark{ControlPlane: "another", Unnamed: 2}
	wants(0, "of another control plane")
	a.published, a.inherited = &Mark{Unnamed: 2}, false
	wants(2, "of this one")
	wants(2, "while the envelopes are not known")
	items, found := itemsOf(m, "a", 3), map[string]*entry{}
	for _, it := range items {
		found[it.name] = &entry{id: it.id, source: "a", unit: it.id.namespace + "/" + it.id.name, uid: types.UID(it.name), secretVersion: "1"}
	}
	m.indexed(b, found, 1)
	wants(2, "before anything is rehearsed")
	for i, want := range []int64{2, 1, 0} {
		items[i].note("b", proof{uid: types.UID(items[i].name)})
		wants(want, "with one more rehearsed")
	}
}
