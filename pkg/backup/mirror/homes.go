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

// refusedBeside are the other cells with an envelope of a refused item that would not take it, either: while a rebalance runs
// there may be two.
func (m *Mirror) refusedBeside(it *item) []string {
	f := it.refusal
	if !f.stored {
		return nil
	}
	primary, unit := m.primary(it)
	var out []string
	for _, home := range m.snapshot().Homes(primary.stream.cell.name, unit) {
		if last := it.proven[home]; home != f.cell && last.refused && last.uid == f.uid {
			out = append(out, home)
		}
	}
	return out
}
