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
// answers are the same. The circle is divided into buckets of equal size, about four segments
// each, and a bucket holds its segments in one cache line: a lookup hashes the key, computes the
// bucket from the hash, and counts which segment of it the key lies in. A bucket knows its bounds
// to 16 bits; a key that is not told apart from a bound by these (one in some thousands), or that
// lies in a bucket with too many segments, is looked up in the rings themselves.
type Table struct {
	current, target *Ring
	cells           []string // of both rings by name, then "" for "no cell"
	roles           []role   // by index into cells
	sines           *sines
	buckets         []bucket
	// names turns members' numbers in a segment into indices into cells.
	names [4][MaxMembers]uint16
}

// answer packs four cells into the bytes of a word, each the index of a member of its ring. In a
// ring with one cell the backup is the owner, which Table.names turns into "no cell".
type answer uint32

func newAnswer(oldCell, newCell, oldBackup, newBackup uint8) answer {
	return answer(oldCell) | answer(newCell)<<8 | answer(oldBackup)<<16 | answer(newBackup)<<24
}

// Positions in an answer and in a Placement.
const (
	oldCell = iota
	newCell
	oldBackup
	newBackup
)

// segment ends just before the hash bound.
type segment struct {
	bound uint64 // the high half
	answer
}

// bucketBounds is how many bounds of segments fit into a bucket and a cache line.
const bucketBounds = 9

// segmentsPerBucket is the average; with it 0.3% of all keys lie beyond the ninth bound.
const segmentsPerBucket = 4

// bucket is one cache line.
type bucket struct {
	// bounds are the ends of the bucket's segments, in 2^-16 of the bucket, ascending.
	bounds [bucketBounds]uint16
	// answers[i] holds before bounds[i], the last one after all of them.
	answers [bucketBounds + 1]answer
	// crowded says that there are more bounds after the last one.
	crowded bool
	_       [5]byte
}

// NewTable builds the table for a rebalance from the current to the target ring. A nil or empty
// target, or one equal to current, means that nothing moves. With an empty current ring nothing
// is placed, whatever the target.
func NewTable(current, target *Ring) *Table {
	t := &Table{current: current, target: target, sines: newSines()}
	if current.Empty() {
		t.current, t.cells = &Ring{}, []string{""}
		t.target = t.current
		return t
	}
	if target.Empty() || current.Equal(target) {
		t.target = current
	}
	t.nameCells()
	t.fillBuckets(t.cutSegments())
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
	for i, m := range t.current.members {
		cell := t.indexOf(m.Cell)
		t.names[oldCell][i], t.names[oldBackup][i] = cell, cell
		t.roles[cell] = leaves
	}
	for i, m := range t.target.members {
		cell := t.indexOf(m.Cell)
		t.names[newCell][i], t.names[newBackup][i] = cell, cell
		if t.roles[cell] == leaves {
			t.roles[cell] = normal
		}
	}
	t.cells = append(t.cells, "")
	noCell := uint16(len(t.cells) - 1)
	if len(t.current.members) == 1 {
		t.names[oldBackup][0] = noCell
	}
	if len(t.target.members) == 1 {
		t.names[newBackup][0] = noCell
	}
}

func (t *Table) indexOf(cell string) uint16 {
	i, _ := slices.BinarySearch(t.cells, cell)
	return uint16(i)
}

// cutSegments merges the points of both rings. A point that changes none of the four answers
// cuts nothing.
func (t *Table) cutSegments() []segment {
	oldBackups := t.current.backups()
	newBackups := oldBackups
	if t.target != t.current {
		newBackups = t.target.backups()
	}
	old, new := t.current.points, t.target.points
	segments := make([]segment, 0, max(len(old), len(new))+1)
	i, j := 0, 0
	for i < len(old) || j < len(new) {
		bound := nextBound(old[i:], new[j:])
		// The first point not before the bound owns the keys that end there; past the last
		// point that is point 0 again.
		a, b := i%len(old), j%len(new)
		segments = extend(segments, segment{
			bound:  bound.high,
			answer: newAnswer(uint8(old[a].cell), uint8(new[b].cell), oldBackups[a], newBackups[b]),
		})
		for i < len(old) && old[i].hash == bound {
			i++
		}
		for j < len(new) && new[j].hash == bound {
			j++
		}
	}
	return extend(segments, segment{bound: math.MaxUint64, answer: segments[0].answer})
}

// extend appends a segment. When it continues its predecessor, it takes that one's place.
func extend(segments []segment, s segment) []segment {
	if last := len(segments) - 1; last >= 0 && segments[last].answer == s.answer {
		segments[last].bound = s.bound
		return segments
	}
	return append(segments, s)
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
// have in the ring without its cell. In a ring of one cell that is the cell itself.
func (r *Ring) backups() []uint8 {
	out := make([]uint8, len(r.points))
	last := len(r.points) - 1
	next := r.points[last].cell
	if other := r.nextOther(last); other >= 0 {
		next = r.points[other].cell
	}
	out[last] = uint8(next)
	for i := last - 1; i >= 0; i-- {
		if after := r.points[i+1].cell; after != r.points[i].cell {
			next = after
		}
		out[i] = uint8(next)
	}
	return out
}

// fillBuckets deals the segments out; they cover the circle from 0 to its end.
func (t *Table) fillBuckets(segments []segment) {
	t.buckets = make([]bucket, len(segments)/segmentsPerBucket+1)
	for slot := range t.buckets {
		b, n := &t.buckets[slot], 0
		for len(segments) > 0 {
			at, bound := t.place(segments[0].bound)
			if at != slot {
				break
			}
			if n < bucketBounds {
				b.bounds[n], b.answers[n] = bound, segments[0].answer
				n++
			} else {
				b.crowded = true
			}
			segments = segments[1:]
		}
		// What follows the last bound belongs to the segment that ends in a later bucket. Past
		// the last bucket there is none, and its last bound is the circle's end.
		for i := n; i <= bucketBounds && len(segments) > 0; i++ {
			b.answers[i] = segments[0].answer
		}
		for i := n; i < bucketBounds; i++ {
			b.bounds[i] = math.MaxUint16
		}
	}
}

// place divides the circle evenly: the bucket of a hash, and how far into it in 2^-16.
func (t *Table) place(high uint64) (slot int, offset uint16) {
	upper, lower := bits.Mul64(high, uint64(len(t.buckets)))
	return int(upper), uint16(lower >> 48)
}
