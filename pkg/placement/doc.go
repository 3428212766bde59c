// Package placement says in which cell the objects of one key live.
//
// It owns the ring (which cell owns which part of the hash space), the table that answers
// old, new and backup cell of a key in one lookup, the five cases of a rebalance, the key
// rules (which string of an object is hashed) and the resource classes (whether an object is
// hashed at all).
//
// Invariants:
//
//   - Placement is pure: no client, no clock, no I/O, no randomness. The same members give the
//     same answers in every process, forever; testdata/golden.txt holds it to that.
//   - A [Ring], a [Table] and [Classes] never change after they are built. Share them between
//     goroutines without locks and swap them whole.
//   - A cell's points depend on its own name alone. Adding, removing or reweighting a cell never
//     moves a point of another cell.
//   - github.com/serialx/hashring over xxHash64 (docs/adr/0005-xxhash-on-the-ring.md) is the
//     definition of correct. The table is an index over the same points and is tested to agree
//     with it.
//
// Not promised: that the cell named here is reachable, that the object is really there (during
// a rebalance it may still be in the old cell), or that shares are even for a handful of keys.
//
// Start reading at [NewRing], then [NewTable] and [Table.Lookup].
package placement
