package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// Changes are what an administrator may do to a ring, in the order drain, weight, add.
type Changes struct {
	// Drain takes cells out of the ring.
	Drain []string
	// Weights sets the weights of members.
	Weights []placement.Member
	// Join adds cells by name.
	Join []placement.Member
	// Add adds that many cells of the default weight, named cell-<n> with the numbers that
	// follow the largest one in use.
	Add int
}

// None says whether nothing is to change.
func (c Changes) None() bool {
	return len(c.Drain) == 0 && len(c.Weights) == 0 && len(c.Join) == 0 && c.Add == 0
}

// ChangeError says which change cannot be made. It is the user's to correct.
type ChangeError struct {
	// Change is "drain", "weight", "join", "add" or "kill".
	Change string
	// Cell is the cell that was named, "" for add.
	Cell string
	// Problem says what is wrong; Known lists the cells of the ring.
	Problem string
	Known   []string
}

// Error names the change, the cell, the problem and the cells that there are.
func (e *ChangeError) Error() string {
	what := e.Change
	if e.Cell != "" {
		what += " " + strconv.Quote(e.Cell)
	}
	return fmt.Sprintf("%s: %s; the ring has %s", what, e.Problem, strings.Join(e.Known, ", "))
}

// Apply answers the members after the changes. It returns a *ChangeError for a change that has no
// sense; whether the members make a ring is for placement.NewRing to say.
func (c Changes) Apply(members []placement.Member) ([]placement.Member, error) {
	out := slices.Clone(members)
	refuse := func(change, cell, problem string) error {
		return &ChangeError{Change: change, Cell: cell, Problem: problem, Known: names(members)}
	}
	for _, cell := range c.Drain {
		i := find(out, cell)
		if i < 0 {
			return nil, refuse("drain", cell, "no such member, or drained twice")
		}
		out = slices.Delete(out, i, i+1)
	}
	for _, m := range c.Weights {
		i := find(out, m.Cell)
		if i < 0 {
			return nil, refuse("weight", m.Cell, "no such member, or drained")
		}
		out[i].Weight = m.Weight
	}
	for _, m := range c.Join {
		if find(members, m.Cell) >= 0 || find(out, m.Cell) >= 0 {
			return nil, refuse("join", m.Cell, "the cell is a member already")
		}
		out = append(out, m)
	}
	if c.Add < 0 || len(out)+c.Add > placement.MaxMembers {
		return nil, refuse("add", "", fmt.Sprintf("%d cells cannot be added; a ring has up to %d", c.Add, placement.MaxMembers))
	}
	last := lastNumber(append(slices.Clone(members), out...))
	for i := range c.Add {
		out = append(out, placement.Member{Cell: numbered(last + 1 + i), Weight: placement.DefaultWeight})
	}
	return out, nil
}

func find(members []placement.Member, cell string) int {
	return slices.IndexFunc(members, func(m placement.Member) bool { return m.Cell == cell })
}

func names(members []placement.Member) []string {
	out := make([]string, len(members))
	for i, m := range members {
		out[i] = m.Cell
	}
	return out
}

func numbered(n int) string { return "cell-" + strconv.Itoa(n) }

// lastNumber is the largest n of the members called cell-<n>, 0 if there is none.
func lastNumber(members []placement.Member) int {
	last := 0
	for _, m := range members {
		digits, ok := strings.CutPrefix(m.Cell, "cell-")
		// Longer numbers are names that nobody counts from.
		if n, err := strconv.Atoi(digits); ok && err == nil && len(digits) <= 9 {
			last = max(last, n)
		}
	}
	return last
}
