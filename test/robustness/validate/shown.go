package validate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// The verdicts of a failback on an object that differs, as an administrator reads them.
const (
	diverged = "Diverged"
	onlyHere = "OnlyHere"
)

// Shown judges what a failback says of the objects that were written to in the cell after it was failed over: each has
// diverged, or is only there where the federation has none of that name. It names some, and counts all. writes are those
// that went to the cell directly, files what was saved: [Quarantined] judges that.
func Shown(writes []history.Op, shown history.Shown, files map[string]history.Saved) []string {
	var out []string
	wanted := map[string]map[string]bool{diverged: {}, onlyHere: {}}
	for _, op := range writes {
		switch {
		case op.Outcome != history.OK:
		case files[op.Key].Federation != nil:
			wanted[diverged][op.Key] = true
		default:
			wanted[onlyHere][op.Key] = true
		}
	}
	for _, verdict := range []string{diverged, onlyHere} {
		for _, key := range slices.Sorted(maps.Keys(wanted[verdict])) {
			if got, named := shown.Verdicts[key]; got != verdict && (named || shown.All) {
				out = append(out, fmt.Sprintf("%s was written to in the cell, and the failback shows it as %q; want %s", key, got, verdict))
			}
		}
		if n := len(wanted[verdict]); shown.Counts[verdict] < n {
			out = append(out, fmt.Sprintf("the failback counts %d objects as %s; %d were written to in the cell", shown.Counts[verdict], verdict, n))
		}
	}
	return out
}
