package launch

import (
	"cmp"
	"fmt"

	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// Backup is what one cell holds for another.
type Backup struct {
	// Source is the cell that the objects are in, Cell the one with their envelopes; it is empty for objects of which nobody
	// knows in which cell theirs would be.
	Source    string `json:"source"`
	Cell      string `json:"cell"`
	Envelopes int64  `json:"envelopes"`
	// Unread says that the cell has not answered the daemon yet, so that nobody knows how many envelopes it has.
	Unread bool `json:"unread,omitempty"`
	// LagP50 and LagP99 are in seconds.
	LagP50 float64 `json:"lagP50Seconds"`
	LagP99 float64 `json:"lagP99Seconds"`
	// Pending are the objects of the source with a change that is in no envelope in that cell yet, Unprotected those that
	// could not be promoted there. One whose key moves counts for both of its cells.
	Pending     int64 `json:"pending"`
	Unprotected int64 `json:"unprotected"`
}

func backups(all []Backup, layout printers.Layout) printers.Table {
	t := layout.Table("FROM", "IN", "ENVELOPES", "LAG-P50", "LAG-P99", "PENDING", "UNPROTECTED")
	for _, b := range all {
		unprotected := printers.Count(b.Unprotected)
		if b.Unprotected > 0 {
			unprotected += " !"
		}
		envelopes := printers.Count(b.Envelopes)
		if b.Unread {
			envelopes = "?"
		}
		t.Rows = append(t.Rows, []string{
			b.Source, cmp.Or(b.Cell, "?"), envelopes, fmt.Sprintf("%.3fs", b.LagP50), fmt.Sprintf("%.3fs", b.LagP99),
			printers.Count(b.Pending), unprotected,
		})
	}
	return t
}
