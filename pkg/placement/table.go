package placement

import (
	"math"
	"math/bits"
	"slices"
)

// Table answers old cell, new cell and both backup cells of a key in one lookup, without
// allocating. It never changes; build a new one for a new ring and swap it whole.
//
// How it works: the points of both rings cut the hash circle into segments within which all four
// answers are the same. The segments lie in one sorted slice, found through an index by the top
// bits of the hash (about one segment each), so that a lookup touches one index slot and one or
// two segments. The segments compare the high 64 bits only; a key that meets a segment's bound
// exactly is looked up in the rings themselves.
type Table struct {
	current, target *Ring
	cells           []string // of both rings by name, then "" for "no cell"
	roles           []role   // by index into cells
	fromCurrent     []uint16 // index into current.members → index into cells
	fromTarget      []uint16 // the same for target

	sines    *sines
	segments []segment
	index    []uint32 // top bits of a hash → first segment that may hold it
	shift    uint8    // 64 - number of top bits
}

// segment ends just before the hash high; its keys share four cells: old, new, old backup, new
// backup, as indices into Table.cells.
type segment struct {
	high  uint64
	cells [4]uint16
}

// Positions in segment.cells.
const (
	oldCell = iota
	newCell
	oldBackup
	newBackup
)

// NewTable builds the table for a rebalance from the current to the target ring. A nil or empty
// target, or one equal to current, means that nothing moves. With an empty current ring nothing
// is placed, whatever the target.
func NewTable(current, target *Ring) *Table {
	t := &Table{current: current, target: target, sines: newSines()}
	if current.Empty() {
		t.current, t.target, t.cells = &Ring{}, &Ring{}, []string{""}
		return t
	}
	if target.Empty() || current.Equal(target) {
		t.target = current
	}
	t.nameCells()
	t.cutSegments()
	t.indexSegments()
	return t
}

// nameCells gives every cell of both rings one index, by name, and notes its role.
func (t *Table) nameCells() {
	for _, m := range t.current.members {
		t.cells = append(t.cells, m.Cell)
	}
	for _, m := range t.target.members {
		t.cells = append(t.cells, m.Cell)
	}
	slices.Sort(t.cells)
	t.cells = slices.Compact(t.cells)
	t.roles = make([]role, len(t.cells))
	for i := range t.roles {
		t.roles[i] = joins
	}
	for _, m := range t.current.members {
		i := t.indexOf(m.Cell)
		t.fromCurrent = append(t.fromCurrent, i)
		t.roles[i] = leaves
	}
	for _, m := range t.target.members {
		i := t.indexOf(m.Cell)
		t.fromTarget = append(t.fromTarget, i)
		if t.roles[i] == leaves {
			t.roles[i] = normal
		}
	}
	t.cells = append(t.cells, "")
}

func (t *Table) indexOf(cell string) uint16 {
	i, _ := slices.BinarySearch(t.cells, cell)
	return uint16(i)
}

// noCell is the index of the "" that stands for "no backup".
func (t *Table) noCell() uint16 { return uint16(len(t.cells) - 1) }

// cutSegments merges the points of both rings. A point that changes none of the four answers
// cuts nothing.
func (t *Table) cutSegments() {
	oldBackups := backups(t.current, t.fromCurrent, t.noCell())
	newBackups := oldBackups
	if t.target != t.current {
		newBackups = backups(t.target, t.fromTarget, t.noCell())
	}
	old, new := t.current.points, t.target.points
	t.segments = make([]segment, 0, max(len(old), len(new))+1)
	i, j := 0, 0
	for i < len(old) || j < len(new) {
		bound := nextBound(old[i:], new[j:])
		// The first point not before the bound owns the keys that end there; past the last
		// point that is point 0 again.
		a, b := i%len(old), j%len(new)
		t.push(segment{high: bound.high, cells: [4]uint16{
			oldCell: t.fromCurrent[old[a].cell], newCell: t.fromTarget[new[b].cell],
			oldBackup: oldBackups[a], newBackup: newBackups[b],
		}})
		for i < len(old) && old[i].hash == bound {
			i++
		}
		for j < len(new) && new[j].hash == bound {
			j++
		}
	}
	t.push(segment{high: math.MaxUint64, cells: t.segments[0].cells})
	t.segments = slices.Clip(t.segments)
}

// push appends a segment. When it continues its predecessor, it takes that one's place.
func (t *Table) push(s segment) {
	if last := len(t.segments) - 1; last >= 0 && t.segments[last].cells == s.cells {
		t.segments[last].high = s.high
		return
	}
	t.segments = append(t.segments, s)
}

// nextBound is the smaller of the first points; one of the slices may be empty.
func nextBound(old, new []point) hash {
	switch {
	case len(old) == 0:
		return new[0].hash
	case len(new) == 0 || old[0].hash.less(new[0].hash):
		return old[0].hash
	}
	return new[0].hash
}

// backups lists, for every point, the next other cell clockwise: the owner that its keys would
// have in the ring without its cell.
func backups(r *Ring, names []uint16, none uint16) []uint16 {
	out := make([]uint16, len(r.points))
	last := len(r.points) - 1
	next := none
	if other := r.nextOther(last); other >= 0 {
		next = names[r.points[other].cell]
	}
	out[last] = next
	for i := last - 1; i >= 0; i-- {
		if after := r.points[i+1].cell; after != r.points[i].cell {
			next = names[after]
		}
		out[i] = next
	}
	return out
}

// indexSegments builds the index with at least as many slots as there are segments.
func (t *Table) indexSegments() {
	width := bits.Len(uint(len(t.segments) - 1))
	t.shift = uint8(64 - width)
	t.index = make([]uint32, 1<<width)
	s := 0
	for slot := range t.index {
		for t.segments[s].high < uint64(slot)<<t.shift {
			s++
		}
		t.index[slot] = uint32(s)
	}
}
