package placement

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEmptyTable(t *testing.T) {
	t.Parallel()
	some := mustRing(t, equalCells(2), 1)
	for name, table := range map[string]*Table{
		"nil": NewTable(nil, nil), "zero": NewTable(&Ring{}, nil), "first target": NewTable(nil, some),
	} {
		p, ok := table.Lookup(NamespacedName, "ns", "app")
		_, okKey := table.LookupKey("ns/app")
		_, okWhy := table.Explain("ns/app")
		if ok || okKey || okWhy || p.Case() != 0 || p.Old() != "" || p.Moves() || p.Rehomed() || p.String() != "not placed" {
			t.Errorf("%s: placed at %v, %v %v %v", name, p, ok, okKey, okWhy)
		}
		if len(table.Cells()) != 0 || !table.Stable() || !table.Current().Empty() {
			t.Errorf("%s: cells %v", name, table.Cells())
		}
	}
}

func TestStableTable(t *testing.T) {
	t.Parallel()
	current := mustRing(t, equalCells(3), 10)
	for name, target := range map[string]*Ring{
		"nil": nil, "empty": {}, "same": current, "equal": mustRing(t, equalCells(3), 10),
	} {
		table := NewTable(current, target)
		if !table.Stable() || table.Target() != table.Current() {
			t.Errorf("%s: not stable", name)
		}
		table.arcs(func(p Placement, _ float64) {
			if p.Moves() || p.Rehomed() || p.Case() != Stays {
				t.Errorf("%s: %v", name, p)
			}
		})
	}
}

func TestOneCellHasNoBackup(t *testing.T) {
	t.Parallel()
	one, two := mustRing(t, equalCells(1), 5), mustRing(t, equalCells(2), 5)
	p, _ := NewTable(one, nil).LookupKey("ns/app")
	if p.Old() != "cell-1" || p.OldBackup() != "" || p.NewBackup() != "" || p.OldBackupIndex() != 1 {
		t.Errorf("one cell: %v", p)
	}
	NewTable(one, two).arcs(func(p Placement, _ float64) {
		if p.OldBackup() != "" || p.NewBackup() == "" || p.NewBackup() == p.New() || !p.Rehomed() {
			t.Errorf("one to two cells: %v", p)
		}
	})
	NewTable(two, one).arcs(func(p Placement, _ float64) {
		if p.New() != "cell-1" || p.NewBackup() != "" || p.OldBackup() == p.Old() {
			t.Errorf("two to one cell: %v", p)
		}
	})
}

// TestCaseTable is the whole table: every pair of roles that two owners can have.
func TestCaseTable(t *testing.T) {
	t.Parallel()
	got := map[string]Case{}
	for name, from := range map[string]role{"normal": normal, "out": leaves} {
		for other, to := range map[string]role{"normal": normal, "in": joins} {
			got[name+"→"+other] = caseOf(from, to)
		}
	}
	want := map[string]Case{"out→in": OutToIn, "normal→in": NormalToIn, "out→normal": OutToNormal, "normal→normal": NormalToNormal}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i, c := range []Case{OutToIn, NormalToIn, OutToNormal, Stays, NormalToNormal} {
		if int(c) != i+1 {
			t.Errorf("%v has the number %d", c, c)
		}
	}
}

// TestCases follows every segment of random changes: the case is what the memberships of the two
// owners say, case 4 exactly when they are the same, and case 5 only where a weight changed.
func TestCases(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 0))
	seen := map[Case]bool{}
	for range 300 {
		members := randomMembers(rng, 1+rng.IntN(8), 10)
		changed := randomChange(rng, members, 10)
		before, after := weightsOf(members), weightsOf(changed)
		table := NewTable(mustRing(t, members, 4), mustRing(t, changed, 4))
		table.arcs(func(p Placement, _ float64) {
			old, new := p.Old(), p.New()
			want := Stays
			switch {
			case old == new:
			case after[old] == 0 && before[new] == 0:
				want = OutToIn
			case before[new] == 0:
				want = NormalToIn
			case after[old] == 0:
				want = OutToNormal
			default:
				want = NormalToNormal
			}
			seen[want] = true
			if p.Case() != want || p.Moves() != (want != Stays) {
				t.Fatalf("%v, want %v\ncurrent %v\ntarget %v", p, want, members, changed)
			}
			// Minimal movement: somebody gave a point up, or somebody got a new one.
			if p.Moves() && after[old] >= before[old] && after[new] <= before[new] {
				t.Fatalf("%v: neither does %s shrink nor %s grow\ncurrent %v\ntarget %v", p, old, new, members, changed)
			}
		})
	}
	if len(seen) != 5 {
		t.Errorf("only the cases %v came up", seen)
	}
}

func weightsOf(members []Member) map[string]int {
	out := map[string]int{}
	for _, m := range members {
		out[m.Cell] = m.Weight
	}
	return out
}

// TestMembershipNeverGivesCase5: without a change of weights, no key moves between two cells that
// stay.
func TestMembershipNeverGivesCase5(t *testing.T) {
	t.Parallel()
	table := NewTable(mustRing(t, equalCells(8)[1:], 20), mustRing(t, equalCells(7), 20))
	table.arcs(func(p Placement, _ float64) {
		if p.Case() == NormalToNormal {
			t.Fatalf("%v", p)
		}
	})
}

// TestMovedShareIsIdeal holds for changes of one direction: the exact moved part of the circle is
// within one percentage point of what the weights make unavoidable.
func TestMovedShareIsIdeal(t *testing.T) {
	t.Parallel()
	with := func(n int, change func([]Member) []Member) [2][]Member {
		return [2][]Member{equalCells(n), change(equalCells(n))}
	}
	for name, rings := range map[string][2][]Member{
		"add 4th":         {equalCells(3), equalCells(4)},
		"add 6th":         {equalCells(5), equalCells(6)},
		"add two to 8":    {equalCells(8), equalCells(10)},
		"add 17th":        {equalCells(16), equalCells(17)},
		"drain of 8":      with(8, func(m []Member) []Member { return append(m[:2], m[3:]...) }),
		"drain of 3":      with(3, func(m []Member) []Member { return m[1:] }),
		"heavier in 5":    with(5, func(m []Member) []Member { m[2].Weight = 150; return m }),
		"lighter in 5":    with(5, func(m []Member) []Member { m[4].Weight = 40; return m }),
		"slightly heavy":  with(12, func(m []Member) []Member { m[0].Weight = 105; return m }),
		"add a heavy one": with(6, func(m []Member) []Member { return append(m, Member{"big", 300}) }),
	} {
		before, after := mustRing(t, rings[0], DefaultPointsPerWeight), mustRing(t, rings[1], DefaultPointsPerWeight)
		table := NewTable(before, after)
		moved, ideal := 0.0, 0.0
		table.arcs(func(p Placement, part float64) {
			if p.Moves() {
				moved += part
			}
		})
		for _, cell := range table.Cells() {
			ideal += max(0, after.WeightShare(cell)-before.WeightShare(cell))
		}
		if math.Abs(moved-ideal) > 0.01 {
			t.Errorf("%s: moves %.2f%%, ideal %.2f%%", name, 100*moved, 100*ideal)
		}
	}
}

// TestBackupIsOwnerWithoutOwner needs no hashring: the backup is where failover puts the keys.
func TestBackupIsOwnerWithoutOwner(t *testing.T) {
	t.Parallel()
	ring := mustRing(t, equalCells(6), 30)
	table := NewTable(ring, nil)
	failed := map[string]*Table{}
	for _, cell := range table.Cells() {
		failed[cell] = NewTable(ring.Without(cell), nil)
	}
	rng := rand.New(rand.NewPCG(8, 0))
	for range 100_000 {
		key := randomKey(rng)
		p, _ := table.LookupKey(key)
		q, _ := failed[p.Old()].LookupKey(key)
		if p.OldBackup() != q.Old() {
			t.Fatalf("key %q: backup %s, but failover puts it into %s", key, p.OldBackup(), q.Old())
		}
	}
}

// TestCollidingPoints forges cells with points of one hash, which nobody has seen: the first cell
// by name owns, the other one is its backup.
func TestCollidingPoints(t *testing.T) {
	t.Parallel()
	table := NewTable(forge([]point{
		{hash: 1 << 63, cell: 2}, {hash: 1 << 60, cell: 1}, {hash: 1 << 60, cell: 0, index: 1}, {hash: 1 << 60, cell: 0},
	}), nil)
	for h, want := range map[hash][2]string{
		0:              {"a", "b"},
		1<<60 - 1:      {"a", "b"},
		1 << 60:        {"c", "a"},
		1<<63 - 1:      {"c", "a"},
		1 << 63:        {"a", "b"},
		math.MaxUint64: {"a", "b"},
	} {
		p := table.find(h)
		if got := [2]string{p.Old(), p.OldBackup()}; got != want {
			t.Errorf("hash %x: %v, want %v", h, got, want)
		}
	}
}

// TestEndsOfTheCircle forges points on the first and the last hash, where counting would overflow,
// and points in one slot, and compares with the rings themselves.
func TestEndsOfTheCircle(t *testing.T) {
	t.Parallel()
	const last = math.MaxUint64
	for _, rings := range [][2][]point{
		{{{hash: 0, cell: 1}, {hash: last, cell: 2}}, {{hash: 0, cell: 2}, {hash: 1, cell: 2}, {hash: last, cell: 0}}},
		{{{hash: 0, cell: 0}, {hash: 1, cell: 1}}, {{hash: 0, cell: 2}, {hash: last, cell: 1}}},
		{{{hash: last, cell: 0}, {hash: last, cell: 1}}, {{hash: 0, cell: 1}, {hash: 0, cell: 2}}},
		{{{hash: 5, cell: 0}, {hash: 6, cell: 1}, {hash: 7, cell: 0}, {hash: 8, cell: 2}}, {{hash: 7, cell: 0}, {hash: 9, cell: 1}}},
	} {
		table := NewTable(forge(rings[0]), forge(rings[1]))
		hashes := []hash{0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 1 << 62, 1<<63 - 1, 1 << 63, last - 2, last - 1, last}
		for _, h := range hashes {
			if got, want := table.find(h).String(), table.fromRings(h); got != want {
				t.Errorf("%v, hash %x: %s, rings say %s", rings, h, got, want)
			}
		}
	}
}

// forge makes a ring of a, b and c of any points of two cells at least.
func forge(points []point) *Ring {
	return &Ring{members: []Member{{"a", 1}, {"b", 1}, {"c", 1}}, pointsPerWeight: 1 + len(points), points: sortPoints(points)}
}

// fromRings places a hash without the table's segments.
func (t *Table) fromRings(h hash) string {
	var out [4]uint16
	for i, r := range []*Ring{t.current, t.target} {
		owner := r.successor(h)
		out[i], out[2+i] = t.indexOf(r.members[r.points[owner].cell].Cell), uint16(len(t.cells)-1)
		if other := r.nextOther(owner); other >= 0 {
			out[2+i] = t.indexOf(r.members[r.points[other].cell].Cell)
		}
	}
	return Placement{table: t, cells: newAnswer(owners{out[0], out[2]}, owners{out[1], out[3]})}.String()
}

func TestLookupRules(t *testing.T) {
	t.Parallel()
	table := NewTable(mustRing(t, equalCells(9), 20), mustRing(t, equalCells(10), 20))
	for i := range 1000 {
		namespace, name := fmt.Sprint("ns-", i), fmt.Sprint("app-", i%7)
		for _, rule := range []KeyRule{NamespacedName, Name, Namespace} {
			got, _ := table.Lookup(rule, namespace, name)
			want, _ := table.LookupKey(rule.Key(namespace, name))
			if got != want {
				t.Fatalf("%v %s/%s: %v, by its key %v", rule, namespace, name, got, want)
			}
		}
	}
}

func TestIndices(t *testing.T) {
	t.Parallel()
	table := NewTable(mustRing(t, equalCells(4)[1:], 5), mustRing(t, equalCells(3), 5))
	cells := table.Cells()
	if diff := cmp.Diff([]string{"cell-1", "cell-2", "cell-3", "cell-4"}, cells); diff != "" {
		t.Fatal(diff)
	}
	table.arcs(func(p Placement, _ float64) {
		got := []string{cells[p.OldIndex()], cells[p.NewIndex()], cells[p.OldBackupIndex()], cells[p.NewBackupIndex()]}
		if diff := cmp.Diff([]string{p.Old(), p.New(), p.OldBackup(), p.NewBackup()}, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestLargestRings: 256 cells each, none in common, so that all indices are in use.
func TestLargestRings(t *testing.T) {
	t.Parallel()
	joining := equalCells(MaxMembers)
	for i := range joining {
		joining[i].Cell = fmt.Sprintf("new-%d", i)
	}
	current, target := mustRing(t, equalCells(MaxMembers), 1), mustRing(t, joining, 1)
	table := NewTable(current, target)
	if n := len(table.Cells()); n != 2*MaxMembers {
		t.Fatalf("%d cells", n)
	}
	rng := rand.New(rand.NewPCG(9, 0))
	for range 20_000 {
		h := hash(rng.Uint64())
		if p, want := table.find(h), table.fromRings(h); p.String() != want || p.Case() != OutToIn {
			t.Fatalf("hash %x: %v, rings say %s", h, p, want)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	table := NewTable(mustRing(t, equalCells(3), 10), mustRing(t, equalCells(4), 10))
	classes, err := NewClasses(nil)
	if err != nil {
		t.Fatal(err)
	}
	long, longer := string(make([]byte, 253)), string(make([]byte, 1000))
	name := "app-123456"
	for what, do := range map[string]func(){
		"Lookup":         func() { table.Lookup(NamespacedName, "ns-0042", name) },
		"Lookup long":    func() { table.Lookup(NamespacedName, long[:63], long) },
		"LookupKey long": func() { table.LookupKey(longer) },
		"LookupKey":      func() { table.LookupKey("ns-0042/app-123456") },
		"Placement":      func() { p, _ := table.LookupKey(name); _, _, _ = p.Case(), p.NewBackup(), p.Rehomed() },
		"on a point":     func() { table.LookupKey("cell-1-0") },
		"Classes.Of":     func() { classes.Of("apps", "deployments/status", "ns-0042") },
		"Classes.Of 2":   func() { classes.Of("example.com", "widgets", "") },
	} {
		if n := testing.AllocsPerRun(1000, do); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// TestMovedShareIsTheShareOfManyKeys counts keys, and sums lengths; one cell that joins two equal ones takes a third.
func TestMovedShareIsTheShareOfManyKeys(t *testing.T) {
	ring := func(cells ...string) *Ring {
		var members []Member
		for _, cell := range cells {
			members = append(members, Member{Cell: cell, Weight: DefaultWeight})
		}
		r, err := NewRing(members, DefaultPointsPerWeight)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	two, three := ring("cell-1", "cell-2"), ring("cell-1", "cell-2", "cell-3")
	tests := map[string]struct {
		table *Table
		want  float64
	}{
		"joins":      {NewTable(two, three), 1.0 / 3},
		"leaves":     {NewTable(three, two), 1.0 / 3},
		"all change": {NewTable(ring("cell-1"), ring("cell-2")), 1},
		"stable":     {NewTable(two, nil), 0},
		"empty":      {NewTable(nil, two), 0},
	}
	for name, test := range tests {
		got := test.table.MovedShare()
		if math.Abs(got-test.want) > 0.01 {
			t.Errorf("%s: %.4f of all keys move; want %.4f to within a point", name, got, test.want)
		}
		moved, keys := 0, 50_000
		for i := range keys {
			if p, ok := test.table.LookupKey("ns/key-" + strconv.Itoa(i)); ok && p.Moves() {
				moved++
			}
		}
		// Five standard deviations of the count.
		if counted := float64(moved) / float64(keys); math.Abs(counted-got) > 5*math.Sqrt(0.25/float64(keys)) {
			t.Errorf("%s: %.4f of %d keys move, %.4f of all", name, counted, keys, got)
		}
	}
}
