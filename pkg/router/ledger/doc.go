// Package ledger remembers the writes that a router has acknowledged and that no backup is known to have: a dead
// cell cannot be asked what it had accepted last.
//
//	answer of a cell ──▶ Record ──┐                            ┌──▶ Report, by cell
//	probe of a cell ───▶ Observe ─┼─▶ newest write per object ─┤
//	mark of the backup ▶ Reach ───┘                            └──▶ forgotten, once the mark has passed it
//
// The backup daemon publishes for each cell and resource the version up to which every event is in its envelope (a
// [Mark]). A write at or below it needs no remembering. A deletion is mostly answered without a version: it counts as
// made at the next version that the cell is known to have had afterwards, which is no earlier.
//
// Invariants. A write that was recorded is in the report, or at or below the newest mark, or in the interval for which
// the report says that it may be short. Of the writes of one object the newest counts, and a deletion is the last of
// them: an object is its UID, so that one made again under the same name is another one. Memory is bounded by the
// limit of each cell, and cells share nothing.
//
// Not promised: anything across a restart, which [Report.Started] tells; writes that reached a cell by another way than
// this router; the order of two writes of different objects.
//
// It is pure: no clock, no client, no I/O. Start reading at [Ledger.Record].
package ledger
