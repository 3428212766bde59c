package mirror

import (
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// counts says whether routers show an object of that unit from a cell, as far as its place tells.
func counts(snap *routing.Snapshot, class placement.Class, cell, unit string) bool {
	if class != placement.Sharded {
		return true
	}
	place, placed := snap.Table.LookupKey(unit)
	return placed && (place.Old() == cell || place.New() == cell)
}
