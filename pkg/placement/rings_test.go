package placement

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// equalCells are cell-1 … cell-<n> with the default weight.
func equalCells(n int) []Member {
	members := make([]Member, n)
	for i := range members {
		members[i] = Member{Cell: fmt.Sprintf("cell-%d", i+1), Weight: DefaultWeight}
	}
	return members
}

func mustRing(tb testing.TB, members []Member, pointsPerWeight int) *Ring {
	tb.Helper()
	r, err := NewRing(members, pointsPerWeight)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// randomName is a valid cell name, often one that looks like another cell's point ("a-1").
func randomName(rng *rand.Rand) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	if rng.IntN(2) == 0 {
		return fmt.Sprintf("cell-%d", rng.IntN(40))
	}
	name := make([]byte, 1+rng.IntN(MaxCellNameLength))
	for i := range name {
		name[i] = letters[rng.IntN(len(letters))]
		if i > 0 && i < len(name)-1 && rng.IntN(5) == 0 {
			name[i] = '-'
		}
	}
	return string(name)
}

func randomMembers(rng *rand.Rand, cells, maxWeight int) []Member {
	seen := map[string]bool{}
	var members []Member
	for len(members) < cells {
		if name := randomName(rng); !seen[name] {
			seen[name] = true
			members = append(members, Member{Cell: name, Weight: 1 + rng.IntN(maxWeight)})
		}
	}
	return members
}

// randomChange lets cells leave, join and change their weights; at least one is left.
func randomChange(rng *rand.Rand, members []Member, maxWeight int) []Member {
	var out []Member
	for _, m := range members {
		switch rng.IntN(5) {
		case 0: // leaves
		case 1:
			out = append(out, Member{Cell: m.Cell, Weight: 1 + rng.IntN(maxWeight)})
		default:
			out = append(out, m)
		}
	}
	for range rng.IntN(3) {
		out = append(out, Member{Cell: fmt.Sprintf("joins-%d", len(out)), Weight: 1 + rng.IntN(maxWeight)})
	}
	if len(out) == 0 {
		return members[:1]
	}
	return out
}

// randomKey is a key as objects have it, of all lengths that names can have.
func randomKey(rng *rand.Rand) string {
	switch rng.IntN(20) {
	case 0:
		return fmt.Sprintf("cluster-scoped-%d", rng.Uint32())
	case 1:
		name := make([]byte, rng.IntN(316))
		for i := range name {
			name[i] = byte('a' + rng.IntN(26))
		}
		return string(name)
	}
	return fmt.Sprintf("ns-%04d/app-%d", rng.IntN(5000), rng.Uint32())
}

// arcs walks the segments of a table with the part of the circle, 0 to 1, that each covers.
func (t *Table) arcs(visit func(p Placement, part float64)) {
	next := hash(0)
	for _, s := range t.cutSegments() {
		visit(Placement{table: t, cells: s.answer}, (float64(s.last-next)+1)/math.Exp2(64))
		next = s.last + 1
	}
}
