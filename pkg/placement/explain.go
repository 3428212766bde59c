package placement

import "fmt"

// Point is one place of a cell on the ring.
type Point struct {
	Cell string `json:"cell"`
	// Index counts the cell's points from 0. "<cell>-<index>" is the string that was hashed.
	Index int `json:"index"`
}

// String is "<cell>#<index>".
func (p Point) String() string { return fmt.Sprintf("%s#%d", p.Cell, p.Index) }

// RingReason says why one ring gives a key to its owner.
type RingReason struct {
	// Owner is the first point strictly after the key's hash; its cell owns the key.
	Owner Point `json:"owner"`
	// Backup is the next point of another cell; nil when the ring has one cell only.
	Backup *Point `json:"backup,omitempty"`
}

// Explanation says why a key is where it is.
type Explanation struct {
	Key string `json:"key"`
	// Hash is the key's xxHash64 as 16 hexadecimal digits. The ring is ordered by the numbers
	// that they write: the owner is the first point with a larger one.
	Hash    string     `json:"hash"`
	Current RingReason `json:"current"`
	Target  RingReason `json:"target"`
	Case    Case       `json:"case"`
}

// Explain tells how a key (made by KeyRule.Key) is placed; false when nothing is placed yet. It
// searches the rings and allocates: for people, not for requests.
func (t *Table) Explain(key string) (Explanation, bool) {
	if t.empty() {
		return Explanation{}, false
	}
	h := hashKey("", key)
	return Explanation{
		Key:     key,
		Hash:    fmt.Sprintf("%016x", uint64(h)),
		Current: t.current.reason(h),
		Target:  t.target.reason(h),
		Case:    t.find(h).Case(),
	}, true
}

func (r *Ring) reason(h hash) RingReason {
	i := r.successor(h)
	reason := RingReason{Owner: r.point(i)}
	if other := r.nextOther(i); other >= 0 {
		backup := r.point(other)
		reason.Backup = &backup
	}
	return reason
}

func (r *Ring) point(i int) Point {
	p := r.points[i]
	return Point{Cell: r.members[p.cell].Cell, Index: int(p.index)}
}
