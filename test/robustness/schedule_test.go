package robustness

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

const (
	// abortsInAPlan is how often one change of the ring is aborted. Each costs the way there and back.
	abortsInAPlan = 2
	// abortsForOneAtRandom is of how many aborts one happens at random, where faults do, and not at a step.
	abortsForOneAtRandom = 4
	// roundsToCoverAll is after how many plans, one after the other, every fault was planned at every step.
	roundsToCoverAll = 15
	// seedsToCoverAll is how many seeds have as many stages.
	seedsToCoverAll = 5
	// latecomers is how many changes of the ring more the last seed may have, for what was planned and has not happened.
	latecomers = 4
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

// faultPlan is which faults happen at which named step, one each time that the step comes; at [anyTime], what may happen at
// random besides what always does.
type faultPlan map[string][]fault

// planOf chooses by the number of the plan alone: from one plan to the next the faults move on by one step, and aborts, of
// which a plan has few, go once around the steps, but for some that happen between them. An abort is the first at its step,
// since the others come again after it.
func planOf(faults []fault, round int) faultPlan {
	others, plan := stepFaults(faults), faultPlan{}
	if i := slices.Index(others, abortRun); i >= 0 {
		others = slices.Delete(others, i, i+1)
		for n := range abortsInAPlan {
			at := abortAt(round*abortsInAPlan+n, slices.Contains(faults, random))
			plan[at] = append(plan[at], abortRun)
		}
	}
	for i, name := range stepNames() {
		if f, is := nextPossible(others, i+round, name); is {
			plan[name] = append(plan[name], f)
		}
	}
	return plan
}

// abortAt is where the nth abort happens.
func abortAt(n int, random bool) string {
	if random {
		if n%abortsForOneAtRandom == abortsForOneAtRandom-1 {
			return anyTime
		}
		n -= n / abortsForOneAtRandom
	}
	steps := stepsFor(abortRun)
	return steps[n%len(steps)]
}

// stepsFor are the steps at which a fault can do something.
func stepsFor(f fault) []string {
	return slices.DeleteFunc(stepNames(), func(step string) bool { return !possible(step, f) })
}

// nextPossible is the nth fault, or the next one after it that can do something at a step.
func nextPossible(faults []fault, n int, step string) (f fault, is bool) {
	for i := range faults {
		if f := faults[(n+i)%len(faults)]; possible(step, f) {
			return f, true
		}
	}
	return "", false
}

// stepFaults are those of the faults that can happen at a step.
func stepFaults(faults []fault) []fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return !slices.Contains(atSteps(), f) })
}

// surelySteps are those of every change of the ring, whatever is in the way of a unit.
func surelySteps() []string {
	out := rebalanceSteps()
	for _, step := range []migration.StepName{
		migration.Marked, migration.Barred, migration.Created, migration.Verified, migration.Flipped, migration.Revealed,
	} {
		out = append(out, string(step))
	}
	return out
}

// shortPlan has so many steps that surely come, and at each the next fault: all of it has to happen.
func shortPlan(r *rand.Rand, faults []fault, steps int) faultPlan {
	faults = stepFaults(faults)
	if len(faults) == 0 {
		return nil
	}
	names, plan := surelySteps(), faultPlan{}
	for n, i := range r.Perm(len(names))[:min(steps, len(names))] {
		if f, is := nextPossible(faults, n, names[i]); is {
			plan[names[i]] = []fault{f}
		}
	}
	return plan
}

// schedule carries what was planned over from one change of the ring to the next, where it has not happened: a daemon drove
// past the step, say.
type schedule struct {
	done *coverage // of all seeds
	owed faultPlan
}

func newSchedule() *schedule { return &schedule{done: newCoverage(), owed: faultPlan{}} }

// next is a plan with what is owed. What has happened before gives way to that.
func (s *schedule) next(plan faultPlan) faultPlan {
	out := faultPlan{}
	if free := plan[anyTime]; len(free) > 0 {
		out[anyTime] = free
	}
	for _, step := range stepNames() {
		for _, f := range append(slices.Clone(plan[step]), s.owed[step]...) {
			if s.done.counts[step][f] == 0 && !slices.Contains(out[step], f) {
				out[step] = append(out[step], f)
			}
		}
		if len(out[step]) == 0 && len(plan[step]) > 0 {
			out[step] = plan[step][:1:1]
		}
	}
	s.owed = faultPlan{}
	return out
}

// leave takes what is left of a plan.
func (s *schedule) leave(plan faultPlan) {
	for step, left := range plan {
		for _, f := range left {
			if step != anyTime && s.done.counts[step][f] == 0 {
				s.owed[step] = append(s.owed[step], f)
			}
		}
	}
}

func (s *schedule) owes() bool { return len(s.owed) > 0 }

// TestPlansCoverEveryPair of a step and a fault that is possible, and no other, whichever plan is the first; and with faults
// at random an abort now and then.
func TestPlansCoverEveryPair(t *testing.T) {
	for _, faults := range [][]fault{atSteps(), append(atSteps(), random)} {
		for first := range 200 {
			planned := planned(t, faults, first)
			if missing := planned.missing(stepNames(), atSteps()); len(missing) > 0 {
				t.Errorf("plans %d to %d have no %v", first, first+roundsToCoverAll-1, missing)
			}
			if free := planned.counts[anyTime][abortRun]; free > 0 != slices.Contains(faults, random) {
				t.Errorf("plans %d to %d of %v have %d aborts at random", first, first+roundsToCoverAll-1, faults, free)
			}
		}
	}
}

// planned counts what as many plans have as cover all.
func planned(t *testing.T, faults []fault, first int) *coverage {
	t.Helper()
	out := newCoverage()
	for round := first; round < first+roundsToCoverAll; round++ {
		aborts := 0
		for step, planned := range planOf(faults, round) {
			for _, f := range planned {
				if f == abortRun {
					aborts++
				}
				if out.add(step, f, 1); !possible(step, f) {
					t.Errorf("plan %d has %s at %s: %s", round, f, step, impossible()[step][f])
				}
			}
		}
		if aborts != abortsInAPlan {
			t.Errorf("plan %d has %d aborts", round, aborts)
		}
	}
	return out
}

// TestWhatHasNotHappenedIsTakenUp in a schedule in which each step comes once in a plan, and those of every third not.
func TestWhatHasNotHappenedIsTakenUp(t *testing.T) {
	s := newSchedule()
	for round := 0; round < roundsToCoverAll || s.owes(); round++ {
		var base faultPlan
		if round < roundsToCoverAll {
			base = planOf(atSteps(), round)
		} else if round > 2*roundsToCoverAll {
			t.Fatalf("still owed: %v", s.owed)
		}
		plan := s.next(base)
		for i, step := range stepNames() {
			if (i+round)%3 != 0 && len(plan[step]) > 0 {
				s.done.add(step, plan[step][0], 1)
				plan[step] = plan[step][1:]
			}
		}
		s.leave(plan)
	}
	if missing := s.done.missing(stepNames(), atSteps()); len(missing) > 0 {
		t.Errorf("never: %v", missing)
	}
}
