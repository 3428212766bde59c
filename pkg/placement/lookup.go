package placement

import (
	"fmt"
	"slices"
)

// Placement is where one key lives: a small value that keeps its Table alive.
type Placement struct {
	table *Table
	cells answer
}

// Lookup places an object. The answer is false only when the current ring is empty, that is, when
// nothing is placed yet. It does not allocate for keys of up to 320 bytes, which is more than
// Kubernetes names can give.
func (t *Table) Lookup(rule KeyRule, namespace, name string) (Placement, bool) {
	if t.empty() {
		return Placement{}, false
	}
	return t.find(hashKey(rule.parts(namespace, name))), true
}

// LookupKey places a key that was made before by KeyRule.Key. It does not allocate.
func (t *Table) LookupKey(key string) (Placement, bool) {
	if t.empty() {
		return Placement{}, false
	}
	return t.find(hashKey("", key)), true
}

// find is the lookup proper; the current ring is not empty. An object named "cell-1-0" is hashed
// exactly like the first point of cell-1: that point ends a segment before its own hash.
func (t *Table) find(h hash) Placement {
	i := t.place(h)
	for t.segments[i].last < h {
		i++
	}
	return Placement{table: t, cells: t.segments[i].answer}
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

func (p Placement) index(i int) int { return p.cells.index(i) }

func (p Placement) name(i int) string {
	if p.table == nil {
		return ""
	}
	return p.table.cells[p.index(i)]
}
