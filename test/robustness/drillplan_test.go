package robustness

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// fate is what becomes of the backup daemon when a cell dies.
type fate string

const (
	alive     fate = "alive"
	restarted fate = "restarted" // silent until it is killed and started at a step of the failover
	dead      fate = "dead"      // killed with the cell, and started when the failover has ended
)

// drillPlan is what a seed draws.
type drillPlan struct {
	// zombie has the cell stopped, and go on after its failover; otherwise it is killed, and started.
	zombie bool
	// unsaved is how many writes to the cell were acknowledged, and the backup daemon had fallen silent, when the cell
	// died: that is what is lost.
	unsaved int
	backup  fate
	// restartAt is the step at which it is restarted.
	restartAt failover.StepName
	// kills are the steps at which a driver of the failover dies.
	kills []failover.StepName
	// second has another cell die after the failover, rebalance has units on their way when the first dies.
	second, rebalance bool
}

// mostUnsaved bounds how many writes the backup daemon misses.
const mostUnsaved = 24

// What else may happen in a drill: another cell dies after the failover, or units are on their way when the first one dies.
const (
	another  = "second"
	inFlight = "rebalance"
)

func extras() []string { return []string{another, inFlight} }

// planDrill draws. Seeds that follow one another have all combinations of a zombie and the fates of the daemon. steps is
// at how many steps a driver dies, 0 for any number; allowed are those of the extras that it may draw.
func planDrill(seed uint64, steps int, allowed []string) drillPlan {
	r := rand.New(rand.NewPCG(seed, 1))
	names := failoverSteps()
	p := drillPlan{
		zombie: seed%2 == 1, unsaved: r.IntN(mostUnsaved),
		backup: []fate{alive, restarted, dead}[seed/2%3], restartAt: names[r.IntN(len(names))],
	}
	if steps == 0 {
		steps = r.IntN(len(names) + 1)
	}
	for _, i := range r.Perm(len(names))[:min(steps, len(names))] {
		p.kills = append(p.kills, names[i])
	}
	second, rebalance := r.IntN(3) == 0, r.IntN(3) == 0
	p.second, p.rebalance = second && slices.Contains(allowed, another), rebalance && slices.Contains(allowed, inFlight)
	return p
}

func failoverSteps() []failover.StepName {
	return []failover.StepName{
		failover.StepPreflight, failover.StepFence, failover.StepFreeze, failover.StepRing, failover.StepPromote, failover.StepEnd,
	}
}

func (p drillPlan) String() string {
	cell, daemon := "killed", string(p.backup)
	if p.zombie {
		cell = "stopped"
	}
	if p.backup == restarted {
		daemon += " at " + string(p.restartAt)
	}
	var also []string
	if p.second {
		also = append(also, "another cell dies")
	}
	if p.rebalance {
		also = append(also, "a rebalance is in flight")
	}
	return fmt.Sprintf("cell %s; backup misses %d writes and is %s; drivers die at %v; %s",
		cell, p.unsaved, daemon, p.kills, strings.Join(also, ", "))
}
