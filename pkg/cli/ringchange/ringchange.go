// Package ringchange shows what became of the wanted ring, in the one way that add, drain, undrain and
// weight have in common: what differs from the current ring, what a rebalance would move, what to do
// next, and how to undo it.
package ringchange

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/plan"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// Report is one change, to be shown.
type Report struct {
	Cell string `json:"cell"`
	// Result in words, such as "cell cell-6 added".
	Result  string `json:"result"`
	Changed bool   `json:"changed"`
	DryRun  bool   `json:"dryRun"`
	// Checks are empty for a change that needs none.
	Checks []federation.Check `json:"checks,omitempty"`
	// Wanted are the members of the wanted ring, Differs is how it differs from the current one:
	// "+cell-6", "-cell-2", "cell-3 100→120".
	Wanted  []v1alpha1.RingMember `json:"wanted"`
	Differs []string              `json:"differs"`
	// Preview is absent where nothing is placed yet.
	Preview *plan.Preview `json:"preview,omitempty"`
	Next    string        `json:"next,omitempty"`
	Undo    string        `json:"undo,omitempty"`
	// Aside takes the place of Next where the cell is left out of the wanted ring: it is printed whether that differs or not.
	Aside string `json:"-"`

	epoch    int64
	warnings []string
}

// New describes the change and counts what a rebalance would move. A cell that cannot be counted
// becomes a warning: the change is made already, and its numbers are for people.
func New(ctx context.Context, fed *command.Federation, change federation.RingChange, r Report) (*Report, error) {
	ring := change.After
	r.epoch, r.Wanted, r.Differs = ring.Status.Epoch, ring.Spec.Members, Differences(ring)
	r.Changed = r.Changed || change.Changed
	if r.Aside != "" {
		r.Next = r.Aside
	}
	if ring.Status.Current != nil {
		counted, err := federation.Preview(ctx, fed.Config, ring, federation.CensusOptions{}, plan.DiffOptions{})
		if err != nil {
			r.warnings = append(r.warnings, "cannot count what would move: "+err.Error())
			return &r, nil
		}
		r.Preview = &counted.Preview
		for _, missing := range counted.Missing {
			r.warnings = append(r.warnings, "numbers are without "+missing.Error())
		}
	}
	return &r, nil
}

// Differences is how the wanted ring differs from the current one, by cell name.
func Differences(ring *v1alpha1.Ring) []string {
	current := map[string]int32{}
	points := ring.Spec.PointsPerWeight
	if ring.Status.Current != nil {
		points = ring.Status.Current.PointsPerWeight
		for _, m := range ring.Status.Current.Members {
			current[m.Cell] = m.Weight
		}
	}
	out := []string{}
	wanted := map[string]bool{}
	for _, m := range ring.Spec.Members {
		wanted[m.Cell] = true
		switch weight, isMember := current[m.Cell]; {
		case !isMember:
			out = append(out, "+"+m.Cell)
		case weight != m.Weight:
			out = append(out, fmt.Sprintf("%s %d→%d", m.Cell, weight, m.Weight))
		}
	}
	for cell := range current {
		if !wanted[cell] {
			out = append(out, "-"+cell)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(strings.TrimLeft(a, "+-"), strings.TrimLeft(b, "+-")) })
	if points != ring.Spec.PointsPerWeight {
		out = append(out, fmt.Sprintf("pointsPerWeight %d→%d", points, ring.Spec.PointsPerWeight))
	}
	return out
}

// Print shows the report in the format that the user chose; warnings, next and undo go to standard
// error.
func (r *Report) Print(env *command.Env, printer *printers.Printer) error {
	for _, warning := range r.warnings {
		env.Warn("%s", warning)
	}
	err := printer.Print(env.Out, printers.View{
		Document: printers.NewDocument("RingChange", r.epoch, r, r.warnings...),
		Text:     func(w io.Writer, _ printers.Layout) error { return r.text(env, w) },
		Names:    func() []string { return []string{r.Cell} },
	})
	if err == nil && printer.Text() {
		r.hints(env.ErrOut)
	}
	return err
}

func (r *Report) text(env *command.Env, w io.Writer) error {
	var b strings.Builder
	b.WriteString(Checks(env, r.Checks))
	result := r.Result
	if r.DryRun {
		result += " (dry run)"
	}
	fmt.Fprintf(&b, "%s\nwanted ring: %s\n", result, r.wanted())
	_, err := io.WriteString(w, b.String())
	return err
}

// wanted is the line that says what a rebalance would do.
func (r *Report) wanted() string {
	if len(r.Differs) == 0 {
		return "as the current ring, nothing would move"
	}
	line := strings.Join(r.Differs, " ")
	switch p := r.Preview; {
	case p != nil:
		return fmt.Sprintf("%s   moves %s of %s (%s, of all keys %s, ideal %s)   backups re-homed %s", line,
			printers.Count(p.Moves), printers.Count(p.Workloads), printers.Percent(p.MovedShare), printers.Percent(p.KeyShare), printers.Percent(p.IdealShare),
			printers.Count(p.BackupsRehomed))
	case r.epoch == 0:
		return line + "   nothing is placed yet"
	}
	return line
}

func (r *Report) hints(w io.Writer) {
	var parts []string
	if r.Next != "" && (len(r.Differs) > 0 || r.Aside != "") {
		parts = append(parts, "next: "+r.Next)
	}
	if r.Undo != "" && r.Changed && !r.DryRun {
		parts = append(parts, "undo: "+r.Undo)
	}
	if len(parts) > 0 {
		fmt.Fprintln(w, strings.Join(parts, "      "))
	}
}

// Checks is one line of checks, with its line end; empty for none.
func Checks(env *command.Env, checks []federation.Check) string {
	if len(checks) == 0 {
		return ""
	}
	style := printers.NewStyle(env.Interactive, env.Getenv)
	parts := make([]string, len(checks))
	for i, check := range checks {
		mark := style.Good("✔")
		if check.Warning {
			mark = style.Warn("!")
		}
		parts[i] = strings.TrimRight(mark+" "+check.Name+" "+check.Detail, " ")
	}
	return strings.Join(parts, "  ") + "\n"
}

// ordinaryWindow is the one that hints name.
const ordinaryWindow = 50

// Next are the commands that look at the wanted ring and accept it, or the one that founds the first one.
func Next(program string, ring *v1alpha1.Ring) string {
	if ring.Status.Epoch > 0 {
		return fmt.Sprintf("%s diff ; %s rebalance --window %d", program, program, ordinaryWindow)
	}
	founders := make([]string, len(ring.Spec.Members))
	for i, m := range ring.Spec.Members {
		founders[i] = " --founder " + m.Cell
		if m.Weight != placement.DefaultWeight {
			founders[i] += fmt.Sprintf(",weight=%d", m.Weight)
		}
	}
	return program + " init" + strings.Join(founders, "")
}
