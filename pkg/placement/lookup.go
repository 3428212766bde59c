package placement

import (
	"fmt"
	"slices"
)

// Placement is where one key lives: a small value that keeps its Table alive.
type Placement struct {
	table *Table
	cells [4]uint16
}

// Lookup places an object. The answer is false only when the current ring is empty, that is, when
// nothing is placed yet. It does not allocate.
func (t *Table) Lookup(rule KeyRule, namespace, name string) (Placement, bool) {
	if len(t.segments) == 0 {
		return Placement{}, false
	}
	return t.find(t.sines.hashKey(rule.parts(namespace, name))), true
}

// LookupKey places a key that was made before by KeyRule.Key. It does not allocate for keys of up
// to 320 bytes, which is more than Kubernetes names can give.
func (t *Table) LookupKey(key string) (Placement, bool) {
	if len(t.segments) == 0 {
		return Placement{}, false
	}
	return t.find(t.sines.hashKey("", key)), true
}

// find is the lookup proper; the current ring is not empty.
func (t *Table) find(h hash) Placement {
	i := t.index[h.high>>t.shift]
	for t.segments[i].high < h.high {
		i++
	}
	if t.segments[i].high == h.high {
		return t.findInRings(h)
	}
	return Placement{table: t, cells: t.segments[i].cells}
}

// findInRings answers for a hash whose high half is that of a point, where only the low half
// decides. Such a key is easily made: an object named "cell-1-0" is hashed like the first point
// of cell-1.
func (t *Table) findInRings(h hash) Placement {
	p := Placement{table: t}
	p.cells[oldCell], p.cells[oldBackup] = t.ownerIn(t.current, t.fromCurrent, h)
	p.cells[newCell], p.cells[newBackup] = t.ownerIn(t.target, t.fromTarget, h)
	return p
}

func (t *Table) ownerIn(r *Ring, names []uint16, h hash) (owner, backup uint16) {
	i := r.successor(h)
	owner, backup = names[r.points[i].cell], t.noCell()
	if other := r.nextOther(i); other >= 0 {
		backup = names[r.points[other].cell]
	}
	return owner, backup
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
func (p Placement) OldIndex() int { return int(p.cells[oldCell]) }

// NewIndex is the index of New in Table.Cells.
func (p Placement) NewIndex() int { return int(p.cells[newCell]) }

// OldBackupIndex is the index of OldBackup in Table.Cells; their number when there is none.
func (p Placement) OldBackupIndex() int { return int(p.cells[oldBackup]) }

// NewBackupIndex is the index of NewBackup in Table.Cells; their number when there is none.
func (p Placement) NewBackupIndex() int { return int(p.cells[newBackup]) }

// Moves says whether old and new cell differ.
func (p Placement) Moves() bool { return p.cells[oldCell] != p.cells[newCell] }

// Rehomed says whether old and new backup cell differ.
func (p Placement) Rehomed() bool { return p.cells[oldBackup] != p.cells[newBackup] }

// Case is the key's row of the case table; the zero Placement has none (0).
func (p Placement) Case() Case {
	switch {
	case p.table == nil:
		return 0
	case !p.Moves():
		return Stays
	}
	return caseOf(p.table.roles[p.cells[oldCell]], p.table.roles[p.cells[newCell]])
}

// String is for logs and test failures.
func (p Placement) String() string {
	if p.table == nil {
		return "not placed"
	}
	return fmt.Sprintf("%s→%s, backup %s→%s, %s", p.Old(), p.New(), p.OldBackup(), p.NewBackup(), p.Case())
}

func (p Placement) name(i int) string {
	if p.table == nil {
		return ""
	}
	return p.table.cells[p.cells[i]]
}
