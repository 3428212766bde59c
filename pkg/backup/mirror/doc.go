// Package mirror keeps an envelope of every primary in its backup cell, for as long as it runs.
//
//	cell ── list of metadata, then watch of objects ──▶ records ─┐
//	                                                             ├─▶ judge ─▶ queue of each backup cell ─▶ envelope
//	cell ── list and watch of envelopes' metadata ────▶ index ───┘      │
//	                                                                    └─▶ marks, lag, unprotected ─▶ RCP
//
// A primary is an object of class Sharded or Dependent in the cell from which routers show it. Its homes are the
// backup cells of its unit: that of the current ring, and that of the target ring while there is one, as far as its cell
// owns the unit in these. A Dependent goes by the unit of the owner that it hangs from.
//
// Triggers: each event of a primary or of an envelope; a new [replication.State]; time, for what failed.
// Reads: the primaries and the envelopes of every cell of the ring, and envelopes of the others; the Ring; what was published
// before.
// Writes: envelopes. Marks and reports go through the functions in [Config].
// Why it may run twice: it writes for the version that it has seen, and never an older state over a newer one.
// After a crash: lists of metadata tell what is right, and that is not written again; what was published tells what was
// refused, and that is named on until it is rehearsed.
//
// Invariants:
//
//   - An envelope is written in its new home before it is deleted in an old one.
//   - An envelope is deleted only when its object is known to be gone: the cell that it is from said so in a watch or a
//     list. Where the unit has two cells, each is asked once more. A cell that does not answer keeps its envelopes, and
//     so does one that is Unavailable or Promoting in the Ring as it is then, not as it was when this was begun; and nothing
//     is deleted while the Ring is at another epoch than the one by which that was judged.
//   - An envelope that was promoted, or waits for it, is left to package promotion.
//   - A mark never passes an event whose envelope is not stored, unless its object is in the list of unprotected ones
//     that is published with it; nor a deletion while an envelope of the object stands. While the envelopes in a cell of
//     the ring are not known, no mark is published, nor before what it replaces was read.
//   - An object whose envelope is gone is named as unprotected as long as its cell cannot be read to make another one.
//   - Nothing is reported of a cell before it has answered, nor of the envelopes in it.
//
// How much it asks of a cell is bounded, and less is asked when the cell slows down: see pace.go. What has just changed goes
// before what is re-homed.
//
// Memory grows with the number of objects, by about 1.5 KB for each with its envelope, and not with their size: bodies
// are kept while they wait for being written, and up to a limit; beyond that they are read again.
//
// Not promised: order between objects; that a state which was overwritten within the lag was ever in an envelope.
//
// Start reading at [Mirror.Run], then judge.
package mirror
