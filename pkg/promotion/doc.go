// Package promotion makes an envelope the object again that it is a backup of. Routers do so for a request that needs
// the object, and the driver of a failover for all of them; any number of both at once.
//
// The state of a promotion is kept on the envelope and on the object, and nowhere else:
//
//	step       where      what was written
//	created    object     the copy, with label incoming; or updated: an earlier copy, or a tombstone, became it
//	stated     object     the status, where that is a subresource and differs
//	verified   -          nothing: the server's answer equals the envelope
//	committed  envelope   annotation promoted=<UID of the copy>; only for the version that was read
//	untwinned  envelope   during a rebalance: its twin in the other cell of the key is deleted; before the commit, where
//	                      the twin would have come first and cannot be promoted
//	revealed   object     no label, no marks; managedFields as they were; only for the version that was read
//	deleted    object     where it was being deleted when its cell died, that is asked for again
//	cleared    envelope   deleted
//
// and, where somebody else was quicker:
//
//	discarded  object     the deletion of a copy that was made of an envelope which is gone
//
// After each step the promoter's Step function is called, and whatever ends the process there, the next call goes on.
//
// Committed is the point of no return, and there is one commit for an envelope: it is a write for the version that was
// read, so that of many promoters one makes it. What follows from it is that a deletion stays one. A promoter that comes
// late finds the envelope committed, or gone; then an object that is not there was deleted by somebody, and is not
// made again. A copy that was made and not committed does not show, and is taken back or overwritten.
//
// Owners are promoted before what they own, which names them by their new UIDs.
//
// During a rebalance a key may have an envelope in both of its cells. The newer one is promoted, of equal ones that where the
// key moves from, and the move takes its way; that is the same from whichever cell one begins, and whatever tombstones there
// are. The other one is promoted only where that cannot be: it is damaged, say, or its cell refuses the object. Then it is
// deleted before the other one is committed, in the version that was read: what kept it back may end, and of the two one
// alone is ever committed. An older one waits for longer, until the promoter is told that refusals are final: what a cell lacks
// may be copied to it yet. An object that is in either of the cells already has moved there: its envelope is what it was
// before, and is dropped.
//
// Invariants: an object without a mark of package migration is neither overwritten nor deleted; an envelope is
// deleted only after what it holds was revealed, where something newer is known, or where the copy of its twin is staged; one
// whose object cannot be made stays, and its [Result] says why. What a cell refuses, or does not serve, counts only where it has
// started completely.
//
// Not promised: that the cell that is promoted from is dead, which is the failover's part, and that nobody deletes
// incoming copies meanwhile: a rebalance stands still. Nor that an envelope can take the place of its twin where the owner of
// what it holds was promoted in the other cell.
//
// Start reading at [Promoter.Promote].
package promotion
