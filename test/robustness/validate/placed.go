package validate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// Placed says which objects are not where they have to be when a rebalance has ended: unmarked in the cell that owner
// names, which must be the state that routers show, and nowhere else but as a tombstone.
func Placed(cells []history.Read, owner func(key string) string, shown map[string]history.State) []string {
	var out []string
	live := map[string]bool{}
	for _, cell := range cells {
		for _, key := range slices.Sorted(maps.Keys(cell.Copies)) {
			is := cell.Copies[key]
			switch {
			case is.Status == history.Migrated:
				continue
			case is.Status != "":
				out = append(out, fmt.Sprintf("%s is still %s in %s", key, is.Status, cell.Cell))
				continue
			case owner(key) != cell.Cell:
				out = append(out, fmt.Sprintf("%s is in %s, and belongs in %s", key, cell.Cell, owner(key)))
				continue
			}
			live[key] = true
			if want, has := unversioned(shown[key]), unversioned(is.State); want != has {
				out = append(out, fmt.Sprintf("%s is %+v in %s, and shown as %+v", key, has, cell.Cell, want))
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(shown)) {
		if !live[key] {
			out = append(out, fmt.Sprintf("%s is shown, and not in %s", key, owner(key)))
		}
	}
	return out
}

// unversioned is a state without the version, which a cell and a router write differently.
func unversioned(s history.State) history.State {
	s.Version = ""
	return s
}
