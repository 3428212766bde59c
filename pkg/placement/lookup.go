package placement

import (
	"fmt"
	"slices"
)

// Placement is where one key lives: a small value that keeps its Table alive.
type Placement struct {
	table *Table
	cells uint64 // four indices into Table.cells, 16 bits each
}

// Lookup places an object. The answer is false only when the current ring is empty, that is, when
// nothing is placed yet. It does not allocate.
func (t *Table) Lookup(rule KeyRule, namespace, name string) (Placement, bool) {
	if len(t.buckets) == 0 {
		return Placement{}, false
	}
	return t.find(t.sines.hashKey(rule.parts(namespace, name))), true
}

// LookupKey places a key that was made before by KeyRule.Key. It does not allocate for keys of up
// to 320 bytes, which is more than Kubernetes names can give.
func (t *Table) LookupKey(key string) (Placement, bool) {
	if len(t.buckets) == 0 {
		return Placement{}, false
	}
	return t.find(t.sines.hashKey("", key)), true
}

// find is the lookup proper; the current ring is not empty.
func (t *Table) find(h hash) Placement {
	slot, offset := t.place(h.high)
	b := &t.buckets[slot]
	// Counting all the bounds below the offset takes no branch that depends on the key, so the
	// processor never guesses wrong.
	i := uint32(0)
	for _, bound := range b.bounds {
		i += (uint32(bound) - uint32(offset)) >> 31
	}
	if i == bucketBounds && b.crowded || i < bucketBounds && b.bounds[i] == offset {
		return t.findInRings(h)
	}
	return t.placement(b.answers[i])
}

// findInRings answers for a hash that the buckets cannot tell from a bound. The extreme case is
// easily made: an object named "cell-1-0" is hashed exactly like the first point of cell-1.
func (t *Table) findInRings(h hash) Placement {
	from, fromBackup := t.current.owners(h)
	to, toBackup := t.target.owners(h)
	return t.placement(newAnswer(from, to, fromBackup, toBackup))
}

// owners are the owner of a hash and the backup, which is the owner in a ring of one cell.
func (r *Ring) owners(h hash) (owner, backup uint8) {
	i := r.successor(h)
	owner = uint8(r.points[i].cell)
	if other := r.nextOther(i); other >= 0 {
		return owner, uint8(r.points[other].cell)
	}
	return owner, owner
}

func (t *Table) placement(a answer) Placement {
	return Placement{table: t, cells: uint64(t.names[oldCell][uint8(a)]) |
		uint64(t.names[newCell][uint8(a>>8)])<<16 |
		uint64(t.names[oldBackup][uint8(a>>16)])<<32 |
		uint64(t.names[newBackup][uint8(a>>24)])<<48}
}

// Cells are the names of all cells of both rings, sorted. The indices of a Placement refer to
// this order. The slice is the caller's.
func (t *Table) Cells() []string { return slices.Clone(t.cells[:len(t.cells)-1]) }

// Current is the ring that says where data lives; empty when nothing is placed yet.
func (t *Table) Current() *Ring { return t.current }

// Target is the ring that a rebalance goes to; the current ring itself when nothing moves.
func (t *Table) Target() *Ring { return t.target }

// Stable says whether no key can move: the target places every key like the current ring.
func (t *Table) Stable() bool { return t.target == t.current }

// Old is the owner in the current ring.
func (p Placement) Old() string { return p.name(oldCell) }

// New is the owner in the target ring.
func (p Placement) New() string { return p.name(newCell) }

// OldBackup is the backup cell in the current ring, "" when that has one cell only.
func (p Placement) OldBackup() string { return p.name(oldBackup) }

// NewBackup is the backup cell in the target ring, "" when that has one cell only.
func (p Placement) NewBackup() string { return p.name(newBackup) }

// OldIndex is the index of Old in Table.Cells, for callers that keep something per cell.
func (p Placement) OldIndex() int { return p.index(oldCell) }

// NewIndex is the index of New in Table.Cells.
func (p Placement) NewIndex() int { return p.index(newCell) }

// OldBackupIndex is the index of OldBackup in Table.Cells; their number when there is none.
func (p Placement) OldBackupIndex() int { return p.index(oldBackup) }

// NewBackupIndex is the index of NewBackup in Table.Cells; their number when there is none.
func (p Placement) NewBackupIndex() int { return p.index(newBackup) }

// Moves says whether old and new cell differ.
func (p Placement) Moves() bool { return p.index(oldCell) != p.index(newCell) }

// Rehomed says whether old and new backup cell differ.
func (p Placement) Rehomed() bool { return p.index(oldBackup) != p.index(newBackup) }

// Case is the key's row of the case table; the zero Placement has none (0).
func (p Placement) Case() Case {
	switch {
	case p.table == nil:
		return 0
	case !p.Moves():
		return Stays
	}
	return caseOf(p.table.roles[p.index(oldCell)], p.table.roles[p.index(newCell)])
}

// String is for logs and test failures.
func (p Placement) String() string {
	if p.table == nil {
		return "not placed"
	}
	return fmt.Sprintf("%s→%s, backup %s→%s, %s", p.Old(), p.New(), p.OldBackup(), p.NewBackup(), p.Case())
}

// index reads one of the four cells.
func (p Placement) index(i int) int { return int(uint16(p.cells >> (16 * i))) }

func (p Placement) name(i int) string {
	if p.table == nil {
		return ""
	}
	return p.table.cells[p.index(i)]
}
