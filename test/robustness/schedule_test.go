package robustness

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

const (
	// abortsInAPlan is at how many steps of one change of the ring it is aborted. Each costs the way there and back.
	abortsInAPlan = 2
	// roundsToCoverAll is after how many plans, one after the other, every fault was planned at every step.
	roundsToCoverAll = 15
)

// rebalanceSteps are the named steps that every run has.
func rebalanceSteps() []string {
	var out []string
	for _, step := range rebalance.StepNames() {
		out = append(out, string(step))
	}
	return out
}

// stepNames are the named steps of a run and of the units in it, on their way there and back.
func stepNames() []string {
	out := rebalanceSteps()
	for _, step := range migration.StepNames() {
		out = append(out, string(step))
	}
	return out
}

// planOf chooses which fault happens at which named step, by the number of the plan alone: from one plan to the next the
// faults move on by one step, and aborts, of which a plan has few, go once around the steps.
func planOf(faults []fault, round int) map[string]fault {
	names, others, aborts := stepNames(), stepFaults(faults), 0
	if i := slices.Index(others, abortRun); i >= 0 {
		others, aborts = slices.Delete(others, i, i+1), abortsInAPlan
	}
	plan := map[string]fault{}
	if len(others) > 0 {
		for i, name := range names {
			plan[name] = others[(i+round)%len(others)]
		}
	}
	for n := range aborts {
		plan[names[(round*abortsInAPlan+n)%len(names)]] = abortRun
	}
	return plan
}

// stepFaults are those of the faults that can happen at a step.
func stepFaults(faults []fault) []fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return !slices.Contains(atSteps(), f) })
}

// shortPlan has so many steps, and at each the next fault.
func shortPlan(r *rand.Rand, faults []fault, steps int) map[string]fault {
	faults = stepFaults(faults)
	if len(faults) == 0 {
		return nil
	}
	names, plan := stepNames(), map[string]fault{}
	for n, i := range r.Perm(len(names))[:min(steps, len(names))] {
		plan[names[i]] = faults[n%len(faults)]
	}
	return plan
}

// TestPlansCoverEveryPair of a step and a fault, whichever plan is the first.
func TestPlansCoverEveryPair(t *testing.T) {
	for first := range 200 {
		planned := newCoverage()
		for round := range roundsToCoverAll {
			for step, f := range planOf(atSteps(), first+round) {
				planned.add(step, f, 1)
			}
		}
		if missing := planned.missing(stepNames(), atSteps()); len(missing) > 0 {
			t.Errorf("plans %d to %d have no %v", first, first+roundsToCoverAll-1, missing)
		}
	}
}
