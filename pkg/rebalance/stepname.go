package rebalance

// StepName names a moment of a run between two of its writes. The driver tells of each, so that a test can
// end it there. The steps within a unit are those of [migration.StepName].
type StepName string

// The steps, in the order of an undisturbed run. Those of an abort begin anew at PreparingWritten.
const (
	// LeaseHeld: this driver is the one.
	LeaseHeld StepName = "lease-held"
	// PreparingWritten: the target is accepted, routers may learn of it.
	PreparingWritten StepName = "preparing-written"
	// PreparingAcknowledged: no router creates a key that moves.
	PreparingAcknowledged StepName = "preparing-acknowledged"
	// RebalancingWritten: routers create keys that move in their new cell.
	RebalancingWritten StepName = "rebalancing-written"
	// RebalancingAcknowledged: units may be marked.
	RebalancingAcknowledged StepName = "rebalancing-acknowledged"
	// UnitsFound: a search has ended, and the units are about to be moved.
	UnitsFound StepName = "units-found"
	// UnitsMoved: all units of the last search have moved.
	UnitsMoved StepName = "units-moved"
	// SettlingWritten: nothing is left to be moved.
	SettlingWritten StepName = "settling-written"
	// SettlingAcknowledged: all routers know that.
	SettlingAcknowledged StepName = "settling-acknowledged"
	// Settled: what has to be complete before the old ring is forgotten is complete.
	Settled StepName = "settled"
	// StableWritten: the target is the current ring.
	StableWritten StepName = "stable-written"
	// StableAcknowledged: all routers go by it.
	StableAcknowledged StepName = "stable-acknowledged"
	// Finished: the Rebalance says how it ended.
	Finished StepName = "finished"
)

// Rested is the moment in which all units that a limit lets begin have moved, and the run has paused itself. An
// undisturbed run without a limit has none.
const Rested StepName = "rested"

// StepNames are all steps of an undisturbed run.
func StepNames() []StepName {
	return []StepName{
		LeaseHeld, PreparingWritten, PreparingAcknowledged, RebalancingWritten, RebalancingAcknowledged, UnitsFound,
		UnitsMoved, SettlingWritten, SettlingAcknowledged, Settled, StableWritten, StableAcknowledged, Finished,
	}
}
