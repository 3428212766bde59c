package diff

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/plan"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// text writes what people read.
func (o *options) text(r *report) func(io.Writer, printers.Layout) error {
	return func(w io.Writer, layout printers.Layout) error {
		if !r.differs() {
			_, err := fmt.Fprintf(w, "epoch %d, wanted and current ring are the same\n", r.Epoch)
			return err
		}
		if !o.summary {
			if err := header(w, r); err != nil {
				return err
			}
		}
		p := r.Preview
		if p == nil {
			_, err := fmt.Fprintln(w, "nothing is placed yet")
			return err
		}
		table := matrix(p, layout)
		if o.perNamespace {
			table = perNamespace(p, layout)
		}
		if !o.summary && len(table.Rows) > 0 {
			if err := table.Write(w); err != nil {
				return err
			}
		}
		_, err := io.WriteString(w, total(p)+r.Estimate.text()+"\n")
		return err
	}
}

func header(w io.Writer, r *report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "epoch %d, wanted ring differs", r.Epoch)
	if len(r.Differs) > 0 {
		fmt.Fprintf(&b, ": %s", strings.Join(r.Differs, ", "))
	}
	if r.Preview != nil {
		fmt.Fprintf(&b, "   %s workloads", printers.Count(r.Preview.Workloads))
		if r.Namespace != "" {
			fmt.Fprintf(&b, " in %s", r.Namespace)
		}
	}
	b.WriteString("\n")
	for _, change := range r.Rules {
		fmt.Fprintf(&b, "rule: %s\n", change.line())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// matrix has one row for each cell that loses workloads and one column for each that gains some.
func matrix(p *plan.Preview, layout printers.Layout) printers.Table {
	var to []string
	moves := map[[2]string]int64{}
	for _, pair := range p.Pairs {
		moves[[2]string{pair.From, pair.To}] = pair.Moves
		if !slices.Contains(to, pair.To) {
			to = append(to, pair.To)
		}
	}
	slices.Sort(to)
	table := layout.Table(slices.Concat([]string{`FROM \ TO`}, to, []string{"stays"})...)
	for _, cell := range p.Cells {
		if cell.Before == 0 {
			continue
		}
		row := []string{cell.Cell}
		for _, target := range to {
			if n := moves[[2]string{cell.Cell, target}]; n > 0 {
				row = append(row, printers.Count(n))
			} else {
				row = append(row, "-")
			}
		}
		table.Rows = append(table.Rows, append(row, printers.Count(cell.Stays)))
	}
	return table
}

// perNamespace has one row for each namespace that is concerned.
func perNamespace(p *plan.Preview, layout printers.Layout) printers.Table {
	table := layout.Table("NAMESPACE", "WORKLOADS", "MOVES", "BACKUPS RE-HOMED")
	for _, n := range p.Namespaces {
		if n.Moves+n.BackupsRehomed > 0 {
			table.Rows = append(table.Rows, []string{
				n.Namespace, printers.Count(n.Workloads), printers.Count(n.Moves), printers.Count(n.BackupsRehomed),
			})
		}
	}
	return table
}

// total is the last line.
func total(p *plan.Preview) string {
	var cases []string
	for _, c := range p.Cases {
		cases = append(cases, fmt.Sprintf("case %d: %s", c.Case, printers.Count(c.Moves)))
	}
	byCase := ""
	if len(cases) > 0 {
		byCase = "; " + strings.Join(cases, ", ")
	}
	return fmt.Sprintf("TOTAL moves %s of %s (%s, of all keys %s, ideal %s%s) | backup re-homes %s | skew %s → %s",
		printers.Count(p.Moves), printers.Count(p.Workloads), printers.Percent(p.MovedShare), printers.Percent(p.KeyShare), printers.Percent(p.IdealShare), byCase,
		printers.Count(p.BackupsRehomed), printers.Percent(p.SkewBefore), printers.Percent(p.SkewAfter))
}

// text goes on with the last line.
func (e *Estimate) text() string {
	if e == nil {
		return ""
	}
	return fmt.Sprintf(" | ETA %s at window %d, as fast as %s", printers.Age(time.Duration(e.Seconds)*time.Second), e.Window, e.LikeRun)
}
