package placement

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

// DefaultPointsPerWeight is the number of points that one unit of weight contributes when nobody
// chose one.
//
// With it the skew (the largest deviation of a cell's share from its weight's share, relative to
// the latter) of rings of 2 to 64 cells cell-1, cell-2, … of DefaultWeight is 2.1% at most; the
// worst of them are:
//
//	points per weight   40     80     100    120    150    200    300
//	largest skew        5.4%   2.8%   3.2%   3.0%   2.1%   2.0%   1.9%
//
// One cell's deviation is about 1/√points, here 0.8%, so that other names stay under 3% too.
// More points cost memory and time in proportion: 64 cells are 960,000 points, 15 MB a ring.
const DefaultPointsPerWeight = 150

// Ring is the consistent-hash ring: every cell contributes weight × pointsPerWeight points to a
// circle of xxHash64 values, and a key belongs to the cell of the first point strictly after it.
//
// A Ring never changes. The zero Ring and a nil *Ring are empty: nothing is placed yet.
type Ring struct {
	members         []Member // by cell name
	pointsPerWeight int
	points          []point // by hash, then cell, then index
}

// point is one place that a cell holds.
type point struct {
	hash  hash
	index uint32
	cell  uint16 // index into Ring.members
}

// NewRing builds the ring of the members, in any order. Its errors are those of ValidateMembers.
func NewRing(members []Member, pointsPerWeight int) (*Ring, error) {
	if err := ValidateMembers(members, pointsPerWeight); err != nil {
		return nil, err
	}
	r := &Ring{members: slices.Clone(members), pointsPerWeight: pointsPerWeight}
	slices.SortFunc(r.members, func(a, b Member) int { return strings.Compare(a.Cell, b.Cell) })
	total := 0
	for _, m := range r.members {
		total += m.Weight * pointsPerWeight
	}
	r.points = make([]point, 0, total)
	for i, m := range r.members {
		for j := range m.Weight * pointsPerWeight {
			r.points = append(r.points, point{hash: hashPoint(m.Cell, j), index: uint32(j), cell: uint16(i)})
		}
	}
	r.points = sortPoints(r.points)
	return r, nil
}

// sortPoints sorts in linear time, because the hash spreads the points evenly: it deals them out by
// their top bits, about one to a slot, and then puts the few neighbours in order.
func sortPoints(points []point) []point {
	width := bits.Len(uint(len(points)))
	shift := 64 - width
	next := make([]uint32, 1<<width+1) // slot → where its next point goes
	for _, p := range points {
		next[p.hash>>shift+1]++
	}
	for slot := 1; slot < len(next); slot++ {
		next[slot] += next[slot-1]
	}
	sorted := make([]point, len(points))
	for _, p := range points {
		slot := p.hash >> shift
		sorted[next[slot]] = p
		next[slot]++
	}
	for i := 1; i < len(sorted); i++ {
		p, j := sorted[i], i
		for ; j > 0 && comparePoints(p, sorted[j-1]) < 0; j-- {
			sorted[j] = sorted[j-1]
		}
		sorted[j] = p
	}
	return sorted
}

// comparePoints orders points by hash. Of two cells with a point of one hash, the one that comes
// first by name owns the keys before it, in every process; the other one is their backup. hashring
// leaves the owner of such keys to the order of a map, so that it may differ from run to run. A
// ring of a million points has such a pair with a probability of 3 in 10^8 (n²/2^65).
func comparePoints(a, b point) int {
	return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.cell, b.cell), cmp.Compare(a.index, b.index))
}

// Empty says whether the ring has no member.
func (r *Ring) Empty() bool { return r == nil || len(r.members) == 0 }

// Members are the ring's members by cell name. The slice is the caller's.
func (r *Ring) Members() []Member {
	if r == nil {
		return nil
	}
	return slices.Clone(r.members)
}

// PointsPerWeight is the number of points for each unit of weight, 0 for an empty ring.
func (r *Ring) PointsPerWeight() int {
	if r == nil {
		return 0
	}
	return r.pointsPerWeight
}

// Points is the number of points of all cells.
func (r *Ring) Points() int {
	if r == nil {
		return 0
	}
	return len(r.points)
}

// Equal says whether both rings have the same members and points per weight, and so place every
// key alike.
func (r *Ring) Equal(other *Ring) bool {
	if r.Empty() || other.Empty() {
		return r.Empty() && other.Empty()
	}
	return r.pointsPerWeight == other.pointsPerWeight && slices.Equal(r.members, other.members)
}

// WeightShare is the part of all keys, 0 to 1, that the cell's weight entitles it to; 0 for a
// cell that is no member.
func (r *Ring) WeightShare(cell string) float64 {
	if r == nil {
		return 0
	}
	total, own := 0, 0
	for _, m := range r.members {
		total += m.Weight
		if m.Cell == cell {
			own = m.Weight
		}
	}
	if total == 0 {
		return 0
	}
	return float64(own) / float64(total)
}

// Without is the ring after one cell has left it, empty if it was the last one. The other cells
// keep their points. A cell that is no member leaves the ring as it is.
func (r *Ring) Without(cell string) *Ring {
	if r.Empty() {
		return &Ring{}
	}
	left, found := slices.BinarySearchFunc(r.members, cell, func(m Member, name string) int {
		return strings.Compare(m.Cell, name)
	})
	if !found {
		return r
	}
	if len(r.members) == 1 {
		return &Ring{}
	}
	out := &Ring{members: slices.Delete(slices.Clone(r.members), left, left+1), pointsPerWeight: r.pointsPerWeight}
	out.points = make([]point, 0, len(r.points)-r.members[left].Weight*r.pointsPerWeight)
	for _, p := range r.points {
		switch {
		case int(p.cell) > left:
			p.cell--
			out.points = append(out.points, p)
		case int(p.cell) < left:
			out.points = append(out.points, p)
		}
	}
	return out
}

// successor is the index of the first point strictly after the hash, wrapping around. The ring
// must not be empty.
func (r *Ring) successor(h hash) int {
	i, _ := slices.BinarySearchFunc(r.points, h, func(p point, h hash) int {
		if p.hash > h {
			return 1
		}
		return -1
	})
	return i % len(r.points)
}

// nextOther is the index of the first point after i, wrapping around, that belongs to another
// cell than point i; -1 when the ring has one cell only.
func (r *Ring) nextOther(i int) int {
	if len(r.members) == 1 {
		return -1
	}
	for j := i; ; {
		j = (j + 1) % len(r.points)
		if r.points[j].cell != r.points[i].cell {
			return j
		}
	}
}
