package placement

import (
	"errors"
	"fmt"
	"strconv"
)

// Limits of a ring. They bound the memory and the build time of a table: a point costs 16 bytes
// in its ring and 24 in a table.
const (
	// MaxMembers is the largest number of cells in one ring.
	MaxMembers = 256
	// MaxWeight is the largest weight of one cell.
	MaxWeight = 1000
	// MaxPointsPerWeight is the largest number of points that one unit of weight contributes.
	MaxPointsPerWeight = 1000
	// MaxTotalPoints is the largest number of points of a ring: the sum of all weights times
	// the points per weight.
	MaxTotalPoints = 4_000_000
	// MaxCellNameLength is the length in bytes of the longest cell name (a DNS-1123 label).
	MaxCellNameLength = 63
)

// DefaultWeight is the weight of a cell for which nobody chose one.
const DefaultWeight = 100

// Member is one cell of a ring.
type Member struct {
	// Cell is the cell's name, a DNS-1123 label.
	Cell string `json:"cell"`
	// Weight is the cell's capacity relative to the other members, 1 to MaxWeight.
	Weight int `json:"weight"`
}

// ErrEmptyRing is what NewRing answers when it gets no member. A caller that means "nothing is
// placed yet" uses the zero Ring instead.
var ErrEmptyRing = errors.New("a ring needs at least one member")

// MemberError says which member of a ring is refused. It is the user's to correct: the same
// members are refused for ever.
type MemberError struct {
	// Cell is the name of the refused member as it was given.
	Cell string
	// Field is what is wrong with it: "cell" or "weight".
	Field string
	// Problem says what was found.
	Problem string
	// Allowed says what is accepted instead.
	Allowed string
}

// Error names the member, the problem and what is allowed.
func (e *MemberError) Error() string {
	return fmt.Sprintf("ring member %s: %s; %s", strconv.Quote(clip(e.Cell)), e.Problem, e.Allowed)
}

// LimitError says that a ring as a whole, rather than one member, is beyond a limit. It is the
// user's to correct.
type LimitError struct {
	// Field is "members", "pointsPerWeight" or "points" (the total).
	Field string
	// Value is what was found, Max the largest accepted value. The smallest is always 1.
	Value, Max int
}

// Error names the value and the limits.
func (e *LimitError) Error() string {
	return fmt.Sprintf("ring: %s is %d; it must be between 1 and %d", e.Field, e.Value, e.Max)
}

// ValidateCellName answers nil, or a *MemberError that says why the name cannot be a cell's: a
// cell is named like a DNS-1123 label, because its name becomes part of object names, labels and
// URL paths.
func ValidateCellName(name string) error {
	problem := ""
	switch {
	case name == "":
		problem = "the name is empty"
	case len(name) > MaxCellNameLength:
		problem = fmt.Sprintf("the name has %d characters", len(name))
	case name[0] == '-' || name[len(name)-1] == '-':
		problem = "the name begins or ends with '-'"
	default:
		for _, r := range name {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
				problem = fmt.Sprintf("the name contains %q", r)
				break
			}
		}
	}
	if problem == "" {
		return nil
	}
	return &MemberError{
		Cell: name, Field: "cell", Problem: problem,
		Allowed: "a cell is named by 1 to 63 characters a-z, 0-9 and '-', with a letter or digit first and last",
	}
}

// ValidateMembers answers nil when NewRing would accept the members, else the error that NewRing
// would return: ErrEmptyRing, a *MemberError for the first offending member in the given order,
// or a *LimitError.
func ValidateMembers(members []Member, pointsPerWeight int) error {
	if len(members) == 0 {
		return ErrEmptyRing
	}
	if len(members) > MaxMembers {
		return &LimitError{Field: "members", Value: len(members), Max: MaxMembers}
	}
	if pointsPerWeight < 1 || pointsPerWeight > MaxPointsPerWeight {
		return &LimitError{Field: "pointsPerWeight", Value: pointsPerWeight, Max: MaxPointsPerWeight}
	}
	total := 0
	seen := make(map[string]bool, len(members))
	for _, m := range members {
		if err := ValidateCellName(m.Cell); err != nil {
			return err
		}
		if seen[m.Cell] {
			return &MemberError{
				Cell: m.Cell, Field: "cell", Problem: "the cell is a member twice",
				Allowed: "each cell may be a member once",
			}
		}
		seen[m.Cell] = true
		if m.Weight < 1 || m.Weight > MaxWeight {
			return &MemberError{
				Cell: m.Cell, Field: "weight", Problem: fmt.Sprintf("the weight is %d", m.Weight),
				Allowed: fmt.Sprintf("it must be between 1 and %d", MaxWeight),
			}
		}
		total += m.Weight * pointsPerWeight
	}
	if total > MaxTotalPoints {
		return &LimitError{Field: "points", Value: total, Max: MaxTotalPoints}
	}
	return nil
}

// clip keeps an error readable when somebody passes a file instead of a name.
func clip(s string) string {
	if len(s) > 2*MaxCellNameLength {
		return s[:2*MaxCellNameLength] + "…"
	}
	return s
}
