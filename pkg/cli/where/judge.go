package where

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// rcpName stands for the router control plane where a cell is named.
const rcpName = "RCP"

// Live is what a look into the cells found.
type Live struct {
	// Found are the objects, sorted by cell and resource; empty where there is none.
	Found []Found `json:"found"`
	// Drift is true where reality differs from the map. A name without kind that is found nowhere
	// is no drift: nothing says that it should exist.
	Drift bool `json:"drift"`
	// Reason says what differs, or that nothing was found.
	Reason string `json:"reason,omitempty"`
}

// labelOf is the state of the unit in its old cell, after the states of its objects there: one that
// is migrating decides, then one that has not begun. arrived says whether the new cell has one that
// counts.
func labelOf(found []Found, oldCell, newCell string) (status string, present, arrived bool) {
	status = string(v1alpha1.Migrated)
	for _, f := range found {
		switch {
		case f.Cell == newCell && f.Status == "":
			arrived = true
		case f.Cell != oldCell:
		case f.Status == v1alpha1.Migrating:
			return string(v1alpha1.Migrating), true, arrived
		case f.Status == "":
			status, present = "", true
		case f.Status == v1alpha1.Migrated:
			present = true
		}
	}
	return status, present, arrived
}

// resolve decides a key between two cells by what was found.
func (a *Answer) resolve(snapshot *routing.Snapshot, o *observation, found []Found) {
	if !a.moves() || o.failed[a.OldCell] != nil {
		return
	}
	status, present, arrived := labelOf(found, a.OldCell, a.NewCell)
	// A tombstone that is gone already leaves the object in the new cell alone.
	if !present && !arrived {
		status = ""
	}
	a.decide(snapshot, status, present || arrived)
}

// judge compares the map with what was found in the cells that answered.
func (a *Answer) judge(found []Found, asked []string) {
	slices.SortFunc(found, func(x, y Found) int {
		return strings.Compare(x.Cell+"/"+x.Resource, y.Cell+"/"+y.Resource)
	})
	a.Live = &Live{Found: slices.Clip(append([]Found{}, found...))}
	switch a.Class {
	case placement.Sharded:
		a.Live.Reason = a.judgeSharded(found, asked)
		a.Live.Drift = a.Live.Reason != ""
	case placement.Replicated:
		a.Live.Reason = judgeReplicated(found, asked)
		a.Live.Drift = a.Live.Reason != ""
	case placement.Global:
		if len(found) == 0 && slices.Contains(asked, rcpName) {
			a.Live.Drift, a.Live.Reason = a.target.kind != nil, "not found in the RCP"
		}
	}
	switch {
	case a.Live.Reason != "" || len(found) > 0:
	case a.Class == placement.Sharded && !slices.Contains(asked, a.Cell):
		// Nobody may conclude that it is gone, or that it can be written.
		a.Live.Reason, a.Writes = "unknown: "+a.Cell+" does not answer", writesUnknown
	default:
		a.Live.Reason = "not found"
	}
}

// judgeSharded returns what is wrong, "" for nothing.
func (a *Answer) judgeSharded(found []Found, asked []string) string {
	counting := map[string][]string{} // resource → cells that would show it
	for _, f := range found {
		if f.Status != v1alpha1.Migrated && f.Status != v1alpha1.Incoming && !a.madeEverywhere(f) {
			counting[f.Resource] = append(counting[f.Resource], f.Cell)
		}
	}
	var wrong []string
	for _, f := range found {
		cells := counting[f.Resource]
		delete(counting, f.Resource)
		right := slices.DeleteFunc(slices.Clone(cells), func(cell string) bool { return cell != a.OldCell && cell != a.NewCell })
		switch {
		case len(cells) == 0: // seen already, or nothing that counts
		case len(right) == 0:
			wrong = append(wrong, fmt.Sprintf("%s is in %s", f.Resource, strings.Join(cells, " and ")))
		case len(cells) > 1:
			wrong = append(wrong, fmt.Sprintf("%s is in %s at once", f.Resource, strings.Join(cells, " and ")))
		}
	}
	if len(wrong) > 0 {
		return strings.Join(wrong, ", ")
	}
	if len(found) == 0 && a.target.kind != nil && slices.Contains(asked, a.Cell) {
		return "not found in " + a.Cell
	}
	return ""
}

// madeEverywhere says whether f is one of those that every control plane makes for itself. Only
// the one in the cell that the map names is ever shown.
func (a *Answer) madeEverywhere(f Found) bool {
	of := schema.ParseGroupResource(f.Resource)
	return f.Cell != a.Cell && placement.IsSelfMade(of.Group, of.Resource, a.Namespace, a.Name)
}

// judgeReplicated returns which of the control planes that answered lack the object.
func judgeReplicated(found []Found, asked []string) string {
	var missing []string
	for _, cell := range asked {
		if !slices.ContainsFunc(found, func(f Found) bool { return f.Cell == cell }) {
			missing = append(missing, cell)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	slices.Sort(missing)
	return "not found in " + strings.Join(missing, ", ")
}
