package placement

import "fmt"

// Case tells what a rebalance does with a key, by the membership of its two owners. A cell is
// "in" when it joins (target ring only), "out" when it leaves (current ring only) and "normal"
// when it is in both. Whatever the case: old = new means untouched.
type Case uint8

// The cases. The zero Case belongs to no key.
const (
	// OutToIn is case 1: from a cell that leaves to one that joins.
	OutToIn Case = 1
	// NormalToIn is case 2: from a cell that stays to one that joins.
	NormalToIn Case = 2
	// OutToNormal is case 3: from a cell that leaves to one that stays.
	OutToNormal Case = 3
	// Stays is case 4: old and new cell are the same.
	Stays Case = 4
	// NormalToNormal is case 5: between two cells that stay, because a weight (or the points per
	// weight) changed. Membership alone cannot produce it.
	NormalToNormal Case = 5
)

// String is the case in words, with its number.
func (c Case) String() string {
	switch c {
	case OutToIn:
		return "case 1 (out→in)"
	case NormalToIn:
		return "case 2 (normal→in)"
	case OutToNormal:
		return "case 3 (out→normal)"
	case Stays:
		return "case 4 (stays)"
	case NormalToNormal:
		return "case 5 (normal→normal)"
	}
	return fmt.Sprintf("Case(%d)", uint8(c))
}

// role is what becomes of a cell between the current and the target ring.
type role uint8

const (
	normal role = iota
	joins
	leaves
)

// caseOf is the case table for two different owners. An old owner cannot join and a new owner
// cannot leave, because each is in its own ring.
func caseOf(from, to role) Case {
	switch {
	case from == leaves && to == joins:
		return OutToIn
	case to == joins:
		return NormalToIn
	case from == leaves:
		return OutToNormal
	}
	return NormalToNormal
}
