package where

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// none fills a column that has no meaning for a row.
const none = "-"

// print writes the table and, with --why, the reasons below it.
func (o *options) print(answers []Answer) func(io.Writer, printers.Layout) error {
	return func(w io.Writer, layout printers.Layout) error {
		table := layout.Table("WORKLOAD", "CELL", "BACKUP", "STATE", "WRITES")
		if layout.Wide {
			table.Header = append(table.Header, "CLASS", "KEY", "POINT", "OLD", "NEW")
		}
		if o.live {
			table.Header = append(table.Header, "LIVE")
		}
		for i := range answers {
			table.Rows = append(table.Rows, o.row(&answers[i], layout))
		}
		if err := table.Write(w); err != nil || !o.why {
			return err
		}
		for i := range answers {
			if _, err := io.WriteString(w, why(&answers[i])); err != nil {
				return err
			}
		}
		return nil
	}
}

func (o *options) row(a *Answer, layout printers.Layout) []string {
	state, writes := a.State, a.Writes
	switch {
	case writes == writesRefused:
		state, writes = o.style.Bad(state), o.style.Bad(writes)
	case writes != writesOK:
		state, writes = o.style.Warn(state), o.style.Warn(writes)
	}
	row := []string{a.title(), place(a), cmp.Or(a.BackupCell, none), state, writes}
	if layout.Wide {
		row = append(row, a.Class.String(), cmp.Or(a.Key, none), cmp.Or(a.Point, none), cmp.Or(a.OldCell, none), cmp.Or(a.NewCell, none))
	}
	if o.live {
		row = append(row, o.liveColumn(a))
	}
	return row
}

func (o *options) liveColumn(a *Answer) string {
	live := a.Live
	switch {
	case live.Drift:
		return o.style.Bad("DRIFT: " + live.Reason)
	case live.Reason != "":
		return live.Reason
	case a.Class == placement.Local || a.Class == placement.Dependent:
		var cells []string
		for _, f := range live.Found {
			cells = append(cells, f.Cell)
		}
		return o.style.Good("in " + strings.Join(slices.Compact(cells), ", "))
	}
	return o.style.Good("ok")
}

// title names what the row is about as the user may name it again.
func (a *Answer) title() string {
	if a.target.kind == nil {
		return a.target.String()
	}
	return a.target.kind.Resource + "/" + a.target.String()
}

// place is the column CELL.
func place(a *Answer) string {
	switch a.Class {
	case placement.Sharded:
		return a.Cell
	case placement.Replicated:
		return "every cell"
	case placement.Global:
		return rcpName
	case placement.Dependent:
		return "with its owner"
	}
	return "where it was made"
}

// cellName is the line of -o name.
func (a *Answer) cellName() string {
	switch a.Class {
	case placement.Sharded:
		return a.Cell
	case placement.Global:
		return rcpName
	}
	return none
}

// why explains one row.
func why(a *Answer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s:\n", a.title())
	switch a.Class {
	case placement.Sharded:
		whySharded(&b, a)
	case placement.Replicated:
		b.WriteString("  class Replicated: the source is in the RCP, every cell has a copy\n")
	case placement.Global:
		b.WriteString("  class Global: in the RCP only; no cell has it\n")
	case placement.Dependent:
		b.WriteString("  class Dependent: in the cell of its controller owner, and moved with it; ask for the owner\n")
	default:
		b.WriteString("  class Local: in the cell that made it, never moved; --live looks for it in all cells\n")
	}
	return b.String()
}

func whySharded(b *strings.Builder, a *Answer) {
	fmt.Fprintf(b, "  key %s (%s)\n", a.Key, a.keyRule)
	reason := a.explanation.Current
	fmt.Fprintf(b, "  hash %s → point %s", a.Hash, reason.Owner)
	if reason.Backup != nil {
		fmt.Fprintf(b, " → next other cell: %s", reason.Backup)
	}
	b.WriteString("\n")
	if !a.moves() {
		return
	}
	target := a.explanation.Target
	fmt.Fprintf(b, "  target ring: point %s", target.Owner)
	if target.Backup != nil {
		fmt.Fprintf(b, " → next other cell: %s", target.Backup)
	}
	label := a.RebalanceStatus
	if label == "" {
		label = "none"
	}
	fmt.Fprintf(b, "\n  old %s, new %s, label %s → %s: reads %s, writes %s\n",
		a.OldCell, a.NewCell, label, a.Case, a.ReadFrom, writesWord(a))
}

func writesWord(a *Answer) string {
	switch {
	case a.WriteTo != "":
		return a.WriteTo
	case a.Writes == writesRetry:
		return "429, retried by clients"
	case a.Writes == writesRefused:
		return "503"
	}
	return "unknown"
}
