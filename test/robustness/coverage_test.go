package robustness

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

const (
	allTheTime = "it is there at any time, and not drawn"
	pastRecall = "the target is the current ring already: there is nothing to walk back from"
	allMoved   = "no unit is left to begin, and a pause holds nothing else up"
	hasEnded   = "the run has ended, and its record stays as it is"
)

// impossible are the pairs that the protocol rules out, each with the reason. They are never planned, nor wanted.
func impossible() map[string]map[fault]string {
	return map[string]map[fault]string{
		string(rebalance.UnitsMoved):           {pauseRun: allMoved},
		string(rebalance.SettlingWritten):      {pauseRun: allMoved},
		string(rebalance.SettlingAcknowledged): {pauseRun: allMoved},
		string(rebalance.Settled):              {pauseRun: allMoved},
		string(rebalance.StableWritten):        {abortRun: pastRecall, pauseRun: allMoved},
		string(rebalance.StableAcknowledged):   {abortRun: pastRecall, pauseRun: allMoved},
		anyTime:                                {bypass: allTheTime},
		string(rebalance.Finished):             {abortRun: hasEnded, pauseRun: hasEnded, suspendDriver: hasEnded},
	}
}

// possible says whether a fault can do anything at a step.
func possible(step string, f fault) bool { return impossible()[step][f] == "" }

// pairs is how many pairs of a step and a fault are possible.
func pairs(steps []string, faults []fault) int {
	return len(newCoverage().missing(steps, faults))
}

// coverage counts how often each fault happened at each named step, and did something.
type coverage struct{ counts map[string]map[fault]int }

func newCoverage() *coverage { return &coverage{counts: map[string]map[fault]int{}} }

func (c *coverage) add(step string, f fault, times int) {
	if c.counts[step] == nil {
		c.counts[step] = map[fault]int{}
	}
	c.counts[step][f] += times
}

// total is how often a fault happened at any step.
func (c *coverage) total(f fault) (n int) {
	for _, counts := range c.counts {
		n += counts[f]
	}
	return n
}

// merge adds what another one has counted.
func (c *coverage) merge(other *coverage) {
	for step, counts := range other.counts {
		for f, n := range counts {
			c.add(step, f, n)
		}
	}
}

// missing are the possible pairs that have not happened.
func (c *coverage) missing(steps []string, faults []fault) []string {
	var out []string
	for _, step := range steps {
		for _, f := range faults {
			if c.counts[step][f] == 0 && possible(step, f) {
				out = append(out, fmt.Sprintf("%s at %s", f, step))
			}
		}
	}
	return out
}

// never are the steps at which nothing of what is possible, and the faults which nowhere happened.
func (c *coverage) never(steps []string, faults []fault) []string {
	var out []string
	happened := map[fault]bool{}
	for _, step := range steps {
		if len(c.counts[step]) == 0 && pairs([]string{step}, faults) > 0 {
			out = append(out, step)
		}
	}
	for step, counts := range c.counts {
		for f := range counts {
			happened[f] = happened[f] || step != anyTime
		}
	}
	for _, f := range faults {
		if !happened[f] {
			out = append(out, string(f))
		}
	}
	return out
}

// table has a line for each step, and a column for each fault, with a dash where that is impossible.
func (c *coverage) table(steps []string, faults []fault) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "step\t")
	for _, f := range faults {
		fmt.Fprintf(w, "%s\t", f)
	}
	for _, step := range steps {
		fmt.Fprintf(w, "\n%s\t", step)
		for _, f := range faults {
			count := "-"
			if possible(step, f) {
				count = fmt.Sprint(c.counts[step][f])
			}
			fmt.Fprintf(w, "%s\t", count)
		}
	}
	fmt.Fprintln(w)
	_ = w.Flush() // into memory
	return b.String()
}
