package validate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// Zombie judges what a cell that was failed over does with writes when it is back: it takes none through a router, and
// none at all once it has refused one for being frozen. Refused says that it was frozen.
func Zombie(cell string, writes []history.Op) []string {
	var out []string
	frozen := int64(history.Never)
	for _, op := range writes {
		if op.Via == cell && op.Outcome == history.Refused {
			frozen = min(frozen, op.Return)
		}
	}
	if frozen == history.Never {
		out = append(out, cell+" was never frozen")
	}
	for _, op := range writes {
		switch {
		case op.Outcome != history.OK:
		case op.Via != cell:
			out = append(out, fmt.Sprintf("%s, which was failed over, took a write through a router: %s", cell, op))
		case op.Call > frozen:
			out = append(out, fmt.Sprintf("%s took a write after it was frozen: %s", cell, op))
		}
	}
	return out
}

// Quarantined judges what a failback saved of a cell: whatever was written to the cell after it was failed over, and what
// its failover had named, is in files, as it was in the cell, beside the federation's and with what differs. writes are
// those that went to the cell directly, in order. losses may be those of other cells as well.
func Quarantined(cell string, writes []history.Op, losses []history.Loss, files map[string]history.Saved) []string {
	var out []string
	// The marks that an object may have, by key, from the last write on that was acknowledged. Where none was, it may
	// be as it was.
	last := map[string][]string{}
	for _, op := range writes {
		switch {
		case op.Outcome == history.OK:
			last[op.Key] = []string{op.Mark}
		case op.Outcome == history.Unknown && len(last[op.Key]) > 0:
			last[op.Key] = append(last[op.Key], op.Mark)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(last)) {
		out = append(out, saved(key, last[key], files[key])...)
	}
	for _, loss := range losses {
		if _, direct := last[loss.Key]; loss.Cell == cell && !direct && files[loss.Key].Cell == nil {
			out = append(out, fmt.Sprintf("%s was named by the failover, and the cell's version is in no file", loss.Key))
		}
	}
	return out
}

// saved is about one object that was written to in the cell; all marks but the first are of writes without an answer.
func saved(key string, marks []string, file history.Saved) []string {
	switch {
	case file.Cell == nil:
		return []string{fmt.Sprintf("%s was written to in the cell (%v), and its version is in no file", key, marks)}
	case !slices.Contains(marks, file.Cell.Mark):
		return []string{fmt.Sprintf("%s: the cell's version in its file has mark %s, want one of %v", key, file.Cell.Mark, marks)}
	case file.Diff == "":
		return []string{key + ": there is no diff beside its file"}
	case file.Federation != nil && slices.Contains(marks, file.Federation.Mark):
		return []string{fmt.Sprintf("%s: the federation has mark %s, which was written to the cell alone", key, file.Federation.Mark)}
	}
	return nil
}
