package verify

// Class is a kind of finding.
type Class string

// The classes.
const (
	Misplaced   Class = "misplaced"
	Duplicate   Class = "duplicate"
	Orphaned    Class = "orphaned"
	Stale       Class = "stale"
	Stuck       Class = "stuck"
	Unprotected Class = "unprotected"
)

// Classes are all of them, in the order in which findings are shown.
func Classes() []Class {
	return []Class{Misplaced, Duplicate, Orphaned, Stale, Stuck, Unprotected}
}

// Explanation is what a person has to know of a class.
type Explanation struct {
	// Meaning says what is wrong, Example how it comes about.
	Meaning, Example string
	// Repair says what is mended by itself, Otherwise what is not, and why.
	Repair, Otherwise string
}

// Explain says what a class means.
func (c Class) Explain() Explanation {
	switch c {
	case Misplaced:
		return Explanation{
			"an object in a cell that the ring does not name for it, and in no cell that it names: no router shows it",
			"somebody has made it past the routers, in the wrong cell",
			"it is moved to the cell that the ring names, with what hangs from it, as a rebalance moves units",
			"one that is in several wrong cells, since nobody knows which counts; one that an object of its cell owns, which would make it again",
		}
	case Duplicate:
		return Explanation{
			"a second object of one name, in a cell that no router shows it from",
			"a cell was restored from an old backup; somebody has made it past the routers",
			"the one that is not shown is removed if both hold the same, without tearing down what it owns",
			"where they differ, since it is not known what of the other one is wanted",
		}
	case Orphaned:
		return Explanation{
			"an envelope of an object that is gone or has its envelopes elsewhere; a dependent object whose owner is gone",
			"the backup daemon was down while the object was deleted; the garbage collector of a cell does not run",
			"the envelope is deleted, once every cell that may have the object says that it has none",
			"a dependent object, since only its cell's garbage collector knows all that it stands for; an envelope that cannot be read",
		}
	case Stale:
		return Explanation{
			"something of the past: an envelope of an earlier state, a tombstone whose grace has ended, an incoming copy that nobody moves",
			"the backup daemon is down, and so are the copies that it takes and the tombstones that it buries",
			"the envelope is written again; the tombstone, or the copy of an object that counts elsewhere, is removed",
			"an incoming copy that may be all there is of an object; a tombstone that has no date",
		}
	case Stuck:
		return Explanation{
			"an object that is closed to writes by a move that nobody carries out; a copy of a failed-over cell that was never brought back",
			"the driver of a rebalance was killed, and the Rebalance deleted; a cell refused the object at the failover",
			"the move is taken back, or finished where it is past that",
			"a copy of a failed-over cell, since the cell that has it refused it",
		}
	case Unprotected:
		return Explanation{
			"an object without an envelope that could bring it back if its cell died",
			"no backup daemon works; an envelope was deleted, or damaged; the object is too large for one",
			"the envelope is written",
			"what the backup cell would refuse, or what is too large: the reason is to be removed",
		}
	}
	return Explanation{}
}
