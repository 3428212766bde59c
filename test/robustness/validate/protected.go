package validate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// Protected says which envelopes are not right when a rebalance has ended and the backup had its time: each object has
// one in the cell that backup names, with the object in the version that its own cell has, and there are no others.
func Protected(cells []history.Read, envelopes []history.Envelope, owner, backup func(key string) string) []string {
	var out []string
	live := map[string]history.State{}
	for _, cell := range cells {
		for key, is := range cell.Copies {
			if is.Status == "" && owner(key) == cell.Cell {
				live[key] = is.State
			}
		}
	}
	kept := map[string]bool{}
	for _, e := range envelopes {
		state, exists := live[e.Key]
		switch {
		case e.Problem != "":
			out = append(out, fmt.Sprintf("envelope %s in %s cannot be read: %s", e.Key, e.Cell, e.Problem))
		case !exists:
			out = append(out, fmt.Sprintf("%s has an envelope in %s, and does not exist", e.Key, e.Cell))
		case e.Cell != backup(e.Key):
			out = append(out, fmt.Sprintf("%s has an envelope in %s; its backup cell is %s", e.Key, e.Cell, backup(e.Key)))
		case e.Source != owner(e.Key) || e.Backup != e.Cell:
			out = append(out, fmt.Sprintf("the envelope of %s in %s is labelled from %s to %s", e.Key, e.Cell, e.Source, e.Backup))
		case e.State != state:
			out = append(out, fmt.Sprintf("%s is %+v, and in its envelope %+v", e.Key, state, e.State))
		}
		kept[e.Key] = kept[e.Key] || e.Cell == backup(e.Key)
	}
	for _, key := range slices.Sorted(maps.Keys(live)) {
		if !kept[key] {
			out = append(out, fmt.Sprintf("%s has no envelope in %s", key, backup(key)))
		}
	}
	return out
}
