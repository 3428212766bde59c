package mirror

import (
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// homes are the cells that have to have the envelopes of a unit's objects in a cell, none where there is no other cell.
//
// They are the cells that would own the unit if this one left the ring: a promotion finds them there. Of a unit that
// moves, the ring in which this cell does not own it has no say: that is where its objects go to, or come from.
func homes(snap *routing.Snapshot, cell, unit string) []string {
	place, placed := snap.Table.LookupKey(unit)
	if !placed {
		return nil
	}
	var out []string
	add := func(home string) {
		if home != "" && home != cell && (len(out) == 0 || out[0] != home) {
			out = append(out, home)
		}
	}
	if place.Old() == cell {
		add(place.OldBackup())
	}
	if place.New() == cell {
		add(place.NewBackup())
	}
	if len(out) == 0 && place.Old() != cell && place.New() != cell {
		// A Dependent without the owner that would tell. Whoever owns the unit by its name has to have it.
		add(place.Old())
		add(place.New())
	}
	return out
}

// counts says whether routers show an object of that unit from a cell, as far as its place tells.
func counts(snap *routing.Snapshot, class placement.Class, cell, unit string) bool {
	if class != placement.Sharded {
		return true
	}
	place, placed := snap.Table.LookupKey(unit)
	return placed && (place.Old() == cell || place.New() == cell)
}
