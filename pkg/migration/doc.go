// Package migration moves one unit from its old to its new cell, and finds the units that have to move.
// It is what a driver calls; it knows no windows, epochs or routers.
//
// The state of a move is kept on the objects and nowhere else:
//
//	old cell:  (no label) ── migrating ── migrated (tombstone) ── deleted by [Bury]
//	new cell:   absent ───── incoming ─── (no label)
//
// All objects of a unit take each step together. After each one the mover's Step function is called,
// and whatever ends the process there, the next call of Move goes on:
//
//	step       where  what was written
//	marked     old    label migrating, and which run, unit and cell; only for the version that was found
//	barred     -      nothing: every write that a router had begun has ended
//	created    new    the copy, with label incoming, owners first, their UIDs those of the new cell
//	kept       new    when an earlier call's copy, which is as it has to be, was taken over
//	updated    new    an earlier copy of an object that has changed since
//	stated     new    the status, where that is a subresource and differs
//	verified   -      nothing: the server's answer equals the source
//	flipped    old    label migrated, no finalizers, no owners; only for the version that was copied
//	revealed   new    no label, no marks; managedFields as they were before the mark
//
// and on the way back, or where something was in the way:
//
//	released   new    no finalizers on a copy that is about to be deleted
//	discarded  new    the deletion of a copy, or of a tombstone of an earlier move
//	unmarked   old    no label, no marks
//
// A ConfigMap costs four writes and no read. Objects of which none owns another take a step at once, 16 at a time.
//
// Flips and reveals go owners first. Which of two copies of a dependent counts is decided by where its
// owner counts, so that the first flip takes the whole tree below an owner over at once; flipped last, the
// owner would still count in the old cell while tombstones hang from it. Besides, a write that the fence
// does not see (scale) is one to an owner: it is met before anything below has flipped, and unless something beside
// it has, when the unit can still go back. What was changed is copied again before what it may own flips.
// Between flip and reveal the tombstone says that the incoming copy is the object: it can be read, and is
// still closed to writes.
//
// The first flip of a unit is its point of no return. [Mover.Undo] takes everything back before it, and
// refuses after it; Move undoes what it fails to move. A tombstone whose copy was revealed, or was deleted since, is
// none of that: its move has ended, often in an earlier run. It is part of the unit for its UID, which dependents know, and
// keeps nobody from taking back what has joined it.
//
// Invariants: no object without a mark of this package is overwritten or deleted, but for a Dependent that a controller of the
// new cell has made since it saw the owner there; a copy is made the
// object only after the source was flipped in exactly the version that the copy was verified against; at
// every instant at most one cell's object is neither marked, a tombstone nor incoming.
//
// Not promised: that writers other than the mover are held off, which is the fence's and the barrier's
// part; that two calls for the same unit at once make progress; that objects which a direct writer makes in
// the old cell during the move are in it: the next [Units] finds them.
//
// Start reading at [Mover.Move], then [Units].
package migration
