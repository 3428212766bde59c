// Package failover takes a dead cell out of the ring and has its workloads served by the cells next to it.
//
// A run is a [v1alpha1.Failover]. [Preflight] says what it would cost, [Start] checks and creates it, and a [Driver]
// that holds the Lease "kubecell-failover" carries it out, in the command line or in the backup daemon.
//
//	step       what is written                         what is waited for
//	preflight  the report, in the record               -
//	fence      Ring: X is unavailable, epoch +1        every router acknowledges: nobody writes to X through one
//	freeze     X itself, where it answers              the freeze is in force
//	ring       Ring: X leaves current, target and      every router acknowledges: each key of X maps to the cell
//	           the wanted ring; promoting, epoch +1    that has its envelope
//	promote    envelopes become objects                no envelope is left that can be promoted
//	end        Ring: promoting no more, epoch +1       -
//
// The report is made again once the routers have acknowledged the fence: from then on the ledgers neither grow nor forget, and
// what it names as lost is exactly what is lost. If that is more than was agreed to, the fence is taken back and the run is
// refused. Copies of objects whose deletion was acknowledged are dropped before the ring changes: a failover brings back
// nothing that a client deleted. A cell whose copies could not be read by then is withheld in the Ring: nothing is promoted
// there, by anybody, before a driver has read them and dropped those.
//
// Triggers: a Failover that has not ended.
// Reads: the Ring, Cells and their Secrets, the routers' Leases and admin ports, the metadata of envelopes.
// Writes: the Ring, the status of the Failover, the condition Frozen of the Cell, its own Lease; in cells, the freeze,
// and what package promotion writes.
// Why it may run twice: two drivers, one of which has not noticed yet that it lost the Lease, both write the Ring under
// its resourceVersion, and any number of promoters may work at once.
// After a crash: the Ring says which step was written last; see [stage]. The next driver goes on from there.
//
// A cell may die while it has copies to promote. Its failover is ordered then, before the first run has ended: that gives up
// the Lease until the second one, which promotes the copies of both cells, has ended.
//
// When the Ring has ended the run its driver deletes the envelopes that the ring did not look for, where their objects are in
// place: the backup could make no new ones of these.
//
// A [Guard] freezes cells that were failed over as soon as they answer, before anybody else uses them.
//
// Not promised: that a cell which answers nobody is dead. Nothing reaches it through a router once the fence is
// acknowledged; what its own controllers write until it is frozen shows at the failback.
//
// Start reading at [Report], which is pure, then [Driver.Run].
package failover
