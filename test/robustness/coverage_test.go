package robustness

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// coverage counts how often each fault happened at each named step.
type coverage struct{ counts map[string]map[fault]int }

func newCoverage() *coverage { return &coverage{counts: map[string]map[fault]int{}} }

func (c *coverage) add(step string, f fault, times int) {
	if c.counts[step] == nil {
		c.counts[step] = map[fault]int{}
	}
	c.counts[step][f] += times
}

// merge adds what another one has counted.
func (c *coverage) merge(other *coverage) {
	for step, counts := range other.counts {
		for f, n := range counts {
			c.add(step, f, n)
		}
	}
}

// missing are the pairs that have not happened.
func (c *coverage) missing(steps []string, faults []fault) []string {
	var out []string
	for _, step := range steps {
		for _, f := range faults {
			if c.counts[step][f] == 0 {
				out = append(out, fmt.Sprintf("%s at %s", f, step))
			}
		}
	}
	return out
}

// never are the steps at which nothing, and the faults which nowhere happened.
func (c *coverage) never(steps []string, faults []fault) []string {
	var out []string
	happened := map[fault]bool{}
	for _, step := range steps {
		if len(c.counts[step]) == 0 {
			out = append(out, step)
		}
	}
	for _, counts := range c.counts {
		for f := range counts {
			happened[f] = true
		}
	}
	for _, f := range faults {
		if !happened[f] {
			out = append(out, string(f))
		}
	}
	return out
}

// table has a line for each step, and a column for each fault.
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
			fmt.Fprintf(w, "%d\t", c.counts[step][f])
		}
	}
	fmt.Fprintln(w)
	_ = w.Flush() // into memory
	return b.String()
}
