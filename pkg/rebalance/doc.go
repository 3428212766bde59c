// Package rebalance drives a run that moves data from the current to the target ring.
//
// A run is a [v1alpha1.Rebalance]. [Start] checks and creates it; a [Driver] that holds the Lease
// "kubecell-rebalance" carries it out, in the command line or in the backup daemon; [Pause], [Resume],
// [Step], [Abort] and [Adjust] change its spec, which the driver follows. [Watch] tells its progress to
// whoever is attached.
//
//	Ring.status    Stable ─▶ Preparing ─▶ Rebalancing ─▶ Settling ─▶ Stable
//	(epoch +1              ▲     │             │             │
//	each)                  └─────┴── abort: current and target change places, and the same way again
//	                             └── abort before Rebalancing: Stable at once, nothing has moved
//
// Each arrow is one write of Ring.status under its resourceVersion. After each the driver waits until every
// registered router acknowledges the epoch; see [StepName] for the names of these moments.
//
// In Rebalancing the driver finds the units that move, those that an earlier driver began with first, and
// moves up to spec.window of them at once, each by [migration.Mover]. Units that have been marked wait
// together for one barrier: Ring.status.window is raised by one and every router acknowledges the number.
// A bump covers all units marked before it began, and waits for a quarter of those in flight, 100 ms at most. The run
// goes on to Settling when a search of all cells has found nothing to move, twice where something was moved.
//
// Triggers: a change of the Rebalance, of the routers' Leases, the end of a unit, time.
// Reads: the Ring, the Rebalance, Cells and their Secrets, the routers' Leases, the cells' objects.
// Writes: Ring.status; the status of the Rebalance, and step and paused in its spec; its own Lease; Events;
// the objects that move.
// Why it may run twice: two drivers, one of which has not yet noticed that it lost the Lease, both write under
// preconditions: a transition needs the Ring's version, a barrier its epoch, each write of an object that
// object's version or UID. The one that is late fails, and stops.
// After a crash: Ring.status says which run is in which phase and in which direction, the labels on the
// objects what has moved. Another driver goes on from there, whatever was cut off.
//
// At rest [Bury] deletes the tombstones whose grace has ended. A backup daemon does that, and takes over runs
// that nobody drives: [Driver.Attend].
//
// Not promised: progress while the RCP, a cell of either ring or a router that is registered does not answer.
// The run waits, and says for whom. While the RCP does not answer nothing stays closed to writes that has not moved: a
// driver that loses its Lease so takes its marks back before another one may begin.
//
// Start reading at [Driver.Run], then run.go.
package rebalance
