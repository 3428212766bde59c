package mirror

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

func TestProgressStopsBeforeTheFirstOpenEvent(t *testing.T) {
	p := newProgress()
	a, b := &record{}, &record{}
	event := func(r *record, version int64) {
		r.version, p.position = version, version
		p.expect(r, version)
	}
	want := func(version int64, when string) {
		t.Helper()
		if got := p.reached(); got != version {
			t.Errorf("%s: reached %d; want %d", when, got, version)
		}
	}
	want(0, "at first")
	event(a, 10)
	event(b, 12)
	want(9, "with both open")
	event(a, 15)
	want(9, "with another event of an open one")
	p.settle(b)
	want(9, "with the one behind stored")
	if !p.settle(a) {
		t.Error("the newest state is stored and the record open")
	}
	want(15, "with all stored")
	p.position = 40
	want(40, "after a bookmark")
	if p.settle(a) {
		t.Error("a record closed twice")
	}
}

func TestAListKeepsTheMarksOfAMigrationAlone(t *testing.T) {
	marks := map[string]string{v1alpha1.AnnotationUnit: "ns/x", v1alpha1.AnnotationMovesTo: "west"}
	for status, want := range map[string]map[string]string{"": nil, string(v1alpha1.Migrating): marks} {
		object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Name: "x", UID: "1", Labels: map[string]string{"app": "x"},
			Annotations: map[string]string{"large": "value", v1alpha1.AnnotationUnit: "ns/x", v1alpha1.AnnotationMovesTo: "west"},
		}}
		if status != "" {
			object.Labels[v1alpha1.LabelRebalanceStatus] = status
		}
		kept := metadataOf(object)
		if kept.Name != "x" || kept.UID != "1" || string(kept.status()) != status || kept.Labels["app"] != "" {
			t.Errorf("status %q: %+v", status, kept)
		}
		if diff := cmp.Diff(want, kept.Annotations); diff != "" {
			t.Errorf("status %q (-want +got):\n%s", status, diff)
		}
	}
}

func TestRecordsAreOneForEachCell(t *testing.T) {
	of := func(name string) *record { return &record{stream: &stream{cell: &cell{name: name}}} }
	east, west := of("east"), of("west")
	all := records{east, west}
	all.drop("north")
	all.drop("east")
	if len(all) != 1 || all.in("west") != west || all.in("east") != nil {
		t.Errorf("%v", all)
	}
}

func TestPaceGivesWayAndComesBack(t *testing.T) {
	now := time.Unix(0, 0)
	p := newPace(func() time.Time { return now })
	asked := func(d time.Duration) (n int) {
		for end := now.Add(d); now.Before(end); n++ {
			now = now.Add(p.reserve())
		}
		return n
	}
	if n := asked(10 * time.Second); n < 10*atFirst || n > 10*atFirst+2*burst {
		t.Errorf("%d requests in 10 s; want about %d", n, 10*atFirst)
	}
	p.observe(0, apierrors.NewTooManyRequests("busy", 3))
	if wait := p.reserve(); wait < 3*time.Second {
		t.Errorf("after a 429 that asks for 3 s the next request waits for %v", wait)
	}
	p.observe(0, apierrors.NewTooManyRequests("busy", 0)) // says nothing new
	if rate := p.current(); rate != atFirst/2 {
		t.Errorf("rate %v after one slow-down; want half", rate)
	}
	for range 20 {
		now = now.Add(calm)
		p.observe(2*slow, nil)
	}
	if rate := p.current(); rate != slowest {
		t.Errorf("rate %v of a cell that stays slow; want %d", rate, slowest)
	}
	for range 100_000 {
		p.observe(time.Millisecond, nil)
	}
	if rate := p.current(); rate != fastest {
		t.Errorf("rate %v of a cell that answers well; want %d", rate, fastest)
	}
	if _, overloaded := overload(errors.New("connection refused")); !overloaded {
		t.Error("a cell that does not answer is asked as before")
	}
	resource := schema.GroupResource{Resource: "secrets"}
	for _, answer := range []error{
		apierrors.NewNotFound(resource, "x"), apierrors.NewAlreadyExists(resource, "x"), apierrors.NewInvalid(schema.GroupKind{}, "x", nil),
		fmt.Errorf("%w: %w", errAgain, apierrors.NewConflict(resource, "x", nil)),
	} {
		if _, overloaded := overload(answer); overloaded {
			t.Errorf("a cell that answers %q is asked less", answer)
		}
	}
}

func TestWhatChangedGoesBeforeWhatIsCompared(t *testing.T) {
	l := &lanes{in: map[*item]bool{}}
	items := map[string]*item{}
	push := func(name string, urgent bool) {
		it := &item{name: name}
		it.urgent.Store(urgent)
		items[name] = it
		l.Push(it)
	}
	push("old-1", false)
	push("old-2", false)
	push("new-1", true)
	items["old-2"].urgent.Store(true)
	l.Touch(items["old-2"])
	l.Touch(items["old-2"])
	var got []string
	for l.Len() > 0 {
		got = append(got, l.Pop().name)
	}
	if want := []string{"new-1", "old-2", "old-1"}; !slices.Equal(got, want) {
		t.Errorf("the order is %v; want %v", got, want)
	}
}

// TestHomesAreWherePromotionLooks holds the homes of many keys against the ring without their cell.
func TestHomesAreWherePromotionLooks(t *testing.T) {
	without := func(cells []string, cell string) []string {
		return slices.DeleteFunc(slices.Clone(cells), func(c string) bool { return c == cell })
	}
	snapshot := func(current, target []string) *routing.Snapshot {
		ring := &v1alpha1.Ring{Status: v1alpha1.RingStatus{Epoch: 1, Current: layoutOf(current), Target: layoutOf(target)}}
		snap, err := routing.FromRing(ring)
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}
	current, target := []string{"a", "b", "c", "d"}, []string{"b", "c", "d", "e"}
	snap := snapshot(current, target)
	for n := range 2000 {
		key := placement.NamespacedName.Key("ns", string(rune('a'+n%26))+string(rune('a'+n/26%26))+string(rune('a'+n/676)))
		place, _ := snap.Table.LookupKey(key)
		for _, cell := range []string{place.Old(), place.New()} {
			got := snap.Homes(cell, key)
			after, _ := snapshot(without(current, cell), without(target, cell)).Table.LookupKey(key)
			if len(got) == 0 {
				t.Fatalf("%s of %s has no home", key, cell)
			}
			for _, home := range got {
				if home == cell || home != after.Old() && home != after.New() {
					t.Fatalf("%s of %s (%s) has a home in %s; after it is gone, %s", key, cell, place, home, after)
				}
			}
		}
		for _, cell := range snap.Table.Cells() {
			for _, home := range snap.Homes(cell, key) {
				if home == cell {
					t.Fatalf("%s of %s has a home in its own cell", key, cell)
				}
			}
		}
	}
	if got := snapshot([]string{"a"}, nil).Homes("a", "ns/x"); len(got) != 0 {
		t.Errorf("homes %v where there is one cell", got)
	}
}

func layoutOf(cells []string) *v1alpha1.RingLayout {
	if cells == nil {
		return nil
	}
	l := &v1alpha1.RingLayout{PointsPerWeight: 10}
	for _, cell := range cells {
		l.Members = append(l.Members, v1alpha1.RingMember{Cell: cell, Weight: 100})
	}
	return l
}

func TestQuantilesOfTheNewest(t *testing.T) {
	s := &samples{}
	if s.quantile(.5) != 0 {
		t.Error("a quantile of nothing")
	}
	for n := range 3 * window {
		s.add(time.Duration(n))
	}
	if p50 := s.quantile(.5); p50 != 2*window+window/2 {
		t.Errorf("p50 is %d; want that of the newest %d", p50, window)
	}
	if p99 := s.quantile(.99); p99 < 3*window-20 {
		t.Errorf("p99 is %d", p99)
	}
}

// betweenTwo is a mirror between the cells "a" and "b" that does nothing.
func betweenTwo(t *testing.T) *Mirror {
	t.Helper()
	snap, err := routing.FromRing(&v1alpha1.Ring{Status: v1alpha1.RingStatus{Epoch: 1, Current: layoutOf([]string{"a", "b"})}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Logger: slog.New(slog.DiscardHandler), Now: time.Now, Metrics: NewMetrics(prometheus.NewRegistry())})
	if err != nil {
		t.Fatal(err)
	}
	m.state = &replication.State{Snapshot: snap}
	return m
}

// itemsOf are the first config maps that a cell owns.
func itemsOf(m *Mirror, cell string, n int) []*item {
	var out []*item
	for i := 0; len(out) < n; i++ {
		id := identity{resource: "configmaps", namespace: "ns", name: fmt.Sprintf("x-%05d", i)}
		if place, _ := m.snapshot().Table.LookupKey(id.namespace + "/" + id.name); place.Old() == cell {
			out = append(out, m.item(id))
		}
	}
	return out
}

// TestRefusedOnesThatAreNotNamedAreCounted: marks have passed them, as they have an envelope.
func TestRefusedOnesThatAreNotNamedAreCounted(t *testing.T) {
	m := betweenTwo(t)
	s := &stream{cell: &cell{m: m, name: "a"}, class: placement.Sharded, rule: placement.NamespacedName, progress: newProgress()}
	for i, it := range itemsOf(m, "a", listLimit+5) {
		it.records = records{{stream: s, uid: types.UID(it.name), version: 2}}
		m.suspects[it] = struct{}{}
		// Two of the last ones have no envelope: no mark passes those.
		it.refusal = &refusal{uid: types.UID(it.name), version: 2, cell: "b", stored: i < listLimit+3}
	}
	named, unnamed := m.nameUnprotected()
	if len(named["a"]) != listLimit || unnamed["a"] != 3 {
		t.Errorf("%d are named, and %d are not; want %d and 3", len(named["a"]), unnamed["a"], listLimit)
	}
}

// TestEachPairHasItsOwn: what a cell holds, waits for, and would not take is said of that cell, and what nobody knows the cell of
// is said of none. Of a cell that was not read it is not said what it holds. What is no more is not said any longer.
func TestEachPairHasItsOwn(t *testing.T) {
	m, registry := betweenTwo(t), prometheus.NewRegistry()
	m.config.Metrics = NewMetrics(registry)
	c := &cell{m: m, name: "a"}
	m.cells = map[string]*cell{"a": c, "b": {m: m, name: "b", indexed: true}, "d": {m: m, name: "d"}}
	s := &stream{cell: c, class: placement.Sharded, rule: placement.NamespacedName, progress: newProgress()}
	s.progress.open[&record{stream: s, known: "ns/" + itemsOf(m, "a", 1)[0].id.name}] = struct{}{}
	s.progress.open[&record{stream: s}] = struct{}{}
	c.streams = map[streamKey]*stream{{}: s}
	r := c.report(count{"b": 5, "d": 1}, count{"b": 3, "d": 2, "": 4})
	if diff := cmp.Diff([]Pair{{Backup: "b", Envelopes: 5, Pending: 1, Unprotected: 3}}, r.Pairs); diff != "" || r.Pending != 2 {
		t.Errorf("%d are pending; pairs (-want +got):\n%s", r.Pending, diff)
	}
	m.config.Metrics.between(&r)
	wantSeries(t, registry, "kubecell_backup_pair_pending", map[string]float64{"": 1, "b": 1, "d": 0})
	wantSeries(t, registry, "kubecell_backup_pair_unprotected", map[string]float64{"": 4, "b": 3, "d": 2})
	r = c.report(count{"b": 5}, count{})
	m.config.Metrics.between(&r)
	wantSeries(t, registry, "kubecell_backup_pair_unprotected", map[string]float64{"": 0, "b": 0})
	m.config.Metrics.left("a")
	wantSeries(t, registry, "kubecell_backup_pair_pending", map[string]float64{})
}

// TestATooLargeOneCountsWhereItBelongsNow: it was found too large when another cell was to have its envelope.
func TestATooLargeOneCountsWhereItBelongsNow(t *testing.T) {
	m := betweenTwo(t)
	s := &stream{cell: &cell{m: m, name: "a"}, class: placement.Sharded, rule: placement.NamespacedName, progress: newProgress()}
	it := itemsOf(m, "a", 1)[0]
	it.records = records{{stream: s, uid: "1", version: 2}}
	m.note(it, &refusal{uid: "1", version: 2, cell: "gone", reason: TooLarge})
	m.nameUnprotected()
	if homes := m.unprotectedByHome(); !cmp.Equal(homes["a"], count{"b": 1}) {
		t.Errorf("unprotected by home: %v", homes["a"])
	}
}

// wantSeries compares a gauge of pairs of the cell a, by backup.
func wantSeries(t *testing.T, registry prometheus.Gatherer, name string, want map[string]float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, metric := range f.GetMetric() {
			for _, l := range metric.GetLabel() {
				if l.GetName() == "backup" {
					got[l.GetValue()] = metric.GetGauge().GetValue()
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// TestWhatFallsOffTheListIsCounted: marks have passed what was named once, whatever is named before it since, and whatever it is
// unprotected for by then.
func TestWhatFallsOffTheListIsCounted(t *testing.T) {
	m := betweenTwo(t)
	s := &stream{cell: &cell{m: m, name: "a"}, class: placement.Sharded, rule: placement.NamespacedName, progress: newProgress()}
	items := itemsOf(m, "a", listLimit+2)
	unprotected := func(reason string, items ...*item) {
		for _, it := range items {
			it.records = records{{stream: s, uid: types.UID(it.name), version: 2}}
			m.note(it, &refusal{uid: types.UID(it.name), version: 2, cell: "b", reason: reason})
		}
	}
	want := func(want int64, when string) {
		t.Helper()
		if named, unnamed := m.nameUnprotected(); len(named["a"]) != listLimit || unnamed["a"] != want {
			t.Errorf("%s: %d are named, and %d are not; want %d and %d", when, len(named["a"]), unnamed["a"], listLimit, want)
		}
	}
	last := items[len(items)-1]
	unprotected(TooLarge, items[2:len(items)-1]...)
	unprotected(Unreadable, last)
	want(0, "at first")
	unprotected(TooLarge, items[:2]...)
	want(2, "behind two more")
	unprotected(TooLarge, last)
	want(2, "for another reason")
}

// TestWhatBecomesOfAnEnvelopeWhileItIsWritten tells of it in any order.
func TestWhatBecomesOfAnEnvelopeWhileItIsWritten(t *testing.T) {
	snap, err := routing.FromRing(&v1alpha1.Ring{Status: v1alpha1.RingStatus{Epoch: 1, Current: layoutOf([]string{"a", "b"})}})
	if err != nil {
		t.Fatal(err)
	}
	at := func(version string) *entry { return &entry{source: "b", unit: "ns/x", secretVersion: version} }
	tests := map[string]struct {
		tell  func(m *Mirror, c *cell, secret string)
		found *entry
		how   ending
		// want is the version in the index, "" for none.
		want   string
		unsure bool
	}{
		"nothing":       {func(*Mirror, *cell, string) {}, at("11"), answered, "11", false},
		"its own event": {func(m *Mirror, c *cell, secret string) { m.envelopeWritten(c, secret, at("11")) }, at("11"), answered, "11", false},
		"a newer one":   {func(m *Mirror, c *cell, secret string) { m.envelopeWritten(c, secret, at("12")) }, at("11"), answered, "12", false},
		"its end":       {func(m *Mirror, c *cell, secret string) { m.envelopeDeleted(c, secret, "12") }, at("11"), answered, "", false},
		"an end before": {func(m *Mirror, c *cell, secret string) { m.envelopeDeleted(c, secret, "10") }, at("11"), answered, "11", false},
		"its end, and a new one": {func(m *Mirror, c *cell, secret string) {
			m.envelopeDeleted(c, secret, "12")
			m.envelopeWritten(c, secret, at("13"))
		}, at("11"), answered, "13", false},
		"no answer":                 {func(*Mirror, *cell, string) {}, nil, unanswered, "9", true},
		"no answer, and its event":  {func(m *Mirror, c *cell, secret string) { m.envelopeWritten(c, secret, at("11")) }, nil, unanswered, "11", true},
		"no answer, and its end":    {func(m *Mirror, c *cell, secret string) { m.envelopeDeleted(c, secret, "12") }, nil, unanswered, "", true},
		"nothing sent, and its end": {func(m *Mirror, c *cell, secret string) { m.envelopeDeleted(c, secret, "12") }, nil, unsent, "", false},
		"deleted, and a new one":    {func(m *Mirror, c *cell, secret string) { m.envelopeWritten(c, secret, at("13")) }, nil, answered, "", true},
		"deleted, told late":        {func(m *Mirror, c *cell, secret string) { m.envelopeWritten(c, secret, at("9")) }, nil, answered, "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := New(Config{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			m.state = &replication.State{Snapshot: snap}
			it := m.item(identity{resource: "configmaps", namespace: "ns", name: "x"})
			c := &cell{m: m, name: "a", queue: newQueue(), indexed: true, unsure: map[string]struct{}{}}
			defer c.queue.ShutDown()
			m.cells["a"] = c
			c.index, c.busy = map[string]*entry{it.name: at("9")}, map[string]*entry{it.name: nil}
			test.tell(m, c, it.name)
			c.done(it, test.found, test.how)
			got := ""
			if e := c.index[it.name]; e != nil {
				got = e.secretVersion
			}
			if _, unsure := c.unsure[it.name]; got != test.want || unsure != test.unsure || c.isBusy(it) {
				t.Errorf("version %q, unsure %v; want %q, %v", got, unsure, test.want, test.unsure)
			}
		})
	}
}
