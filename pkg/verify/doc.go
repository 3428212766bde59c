// Package verify is the fsck of a federation: it compares what all cells have with what the ring says, and with the
// envelopes that the backup keeps.
//
// A run reads every sharded and dependent object once, by metadata, and every envelope once:
//
//	cell-1  ──pages──┐
//	cell-2  ──pages──┼─ merge by key ── judge ── suspects ── look, wait, look ── findings ── repair
//	cell-3  ──pages──┘        │                     ▲
//	                       digests ── differ? ──────┘
//	envelopes ─pages──────────┘
//
// The lists come in the order of etcd's keys, so that whatever the cells have of one object is met together ([merge]).
// Envelopes are named by a hash and come in another order; both sides are summed up in digests by cell and the first
// digits of that name, and only where two digests differ the objects and envelopes behind them are named ([digests]).
// Nothing that is held grows with the number of objects: two pages for each cell, the digests, a filter of UIDs, and at
// most [suspectsAtOnce] suspects.
//
// What a list says is out of date when it is read. So it makes nobody more than a suspect: each is read anew, once at
// once and once more after [Options.Lag], in all cells, by the ring as it is then, and is a finding only if both looks
// say the same. An object on its way moves from where it leaves to where it arrives, so a look reads first where it
// arrives. The judge of both, [world.judge], is pure.
//
// A cell that was failed over is not read: it is frozen, and a failback compares it. One that does not answer is named;
// what would depend on it is not judged.
//
// Invariants: without [Repair] nothing is written. A repair writes only what no other writer could want otherwise, under
// the version that was judged, and keeps its state on the objects: one that is cut off is begun again by the next.
//
// Not promised: that what changes while it is read is found; that data of envelopes is good, unless [Options.Full] reads it.
//
// Start reading at [Run], then [world.judge] and [Repair].
package verify
