package where

import (
	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// Answer is one element of the data of `where -o json`.
type Answer struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	// Resource is "<plural>.<group>", absent for a name without kind.
	Resource string          `json:"resource,omitempty"`
	Class    placement.Class `json:"class"`

	// What follows is for Sharded objects; in other classes the strings are empty.

	Key   string `json:"key"`
	Hash  string `json:"hash"`
	Point string `json:"point"`
	// Cell is where the object is read now, BackupCell the cell of its copy.
	Cell       string         `json:"cell"`
	BackupCell string         `json:"backupCell"`
	OldCell    string         `json:"oldCell"`
	NewCell    string         `json:"newCell"`
	Case       placement.Case `json:"case"`
	// RebalanceStatus is the label in the old cell: "migrating", "migrated" or empty. It is
	// "unknown" where old and new cell differ and the old one could not be asked.
	RebalanceStatus string `json:"rebalanceStatus"`
	ReadFrom        string `json:"readFrom"`
	// WriteTo is empty while writes are answered with 429 or 503.
	WriteTo string `json:"writeTo"`

	// State and Writes are the words of the table.
	State  string `json:"state"`
	Writes string `json:"writes"`
	// Live is there with --live.
	Live *Live `json:"live,omitempty"`

	target      target
	placement   placement.Placement
	explanation placement.Explanation
	keyRule     placement.KeyRule
}

// Words of the columns STATE and WRITES.
const (
	stateStable      = "stable"
	statePending     = "pending"
	stateUnknown     = "unknown"
	stateUnavailable = "unavailable"
	stateAbsent      = "absent"

	writesOK      = "ok"
	writesRetry   = "retry"
	writesRefused = "refused"
	writesUnknown = "?"
)

// unknownStatus stands in for a label that could not be read.
const unknownStatus = "unknown"

// locate says what the map says about t. A key between two cells gets the state "unknown": the
// label in the old cell decides, see [Answer.decide].
func locate(snapshot *routing.Snapshot, t target) Answer {
	a := Answer{Name: t.name, Namespace: t.namespace, target: t}
	a.Class, a.keyRule = classOf(snapshot.Classes, t)
	if t.kind != nil {
		a.Resource = t.kind.String()
	}
	if a.Class != placement.Sharded {
		a.State, a.Writes = stateStable, writesOK
		return a
	}
	a.placement, _ = snapshot.Table.Lookup(a.keyRule, t.namespace, t.name)
	a.Key = a.keyRule.Key(t.namespace, t.name)
	a.explanation, _ = snapshot.Table.Explain(a.Key)
	a.Hash, a.Point = a.explanation.Hash, a.explanation.Current.Owner.String()
	a.OldCell, a.NewCell, a.Case = a.placement.Old(), a.placement.New(), a.placement.Case()
	if a.moves() {
		a.decide(snapshot, unknownStatus, false)
	} else {
		a.settle(snapshot, a.OldCell, a.placement.OldBackup(), stateStable)
	}
	return a
}

// classOf is the class of the kind or, without one, that of an ordinary workload.
func classOf(classes *placement.Classes, t target) (placement.Class, placement.KeyRule) {
	if t.kind != nil {
		return classes.OfObject(t.kind.Group, t.kind.Resource, t.namespace, t.name)
	}
	if placement.SystemNamespace(t.namespace) {
		return placement.Global, placement.NamespacedName
	}
	return placement.Sharded, placement.NamespacedName
}

// moves says whether a rebalance takes the key to another cell.
func (a *Answer) moves() bool { return a.Class == placement.Sharded && a.OldCell != a.NewCell }

// settle fills in one cell for reads and writes.
func (a *Answer) settle(snapshot *routing.Snapshot, cell, backup, state string) {
	a.Cell, a.BackupCell, a.ReadFrom, a.WriteTo = cell, backup, cell, cell
	a.State, a.Writes = state, writesOK
	if snapshot.Unavailable[cell] {
		a.State, a.Writes, a.WriteTo = stateUnavailable, writesRefused, ""
	}
}

// decide applies the rule of the router to a key between two cells: status is the label in the old
// cell, present says whether the object is there at all.
func (a *Answer) decide(snapshot *routing.Snapshot, status string, present bool) {
	old, oldBackup := a.OldCell, a.placement.OldBackup()
	a.RebalanceStatus = status
	switch {
	case status == unknownStatus:
		a.settle(snapshot, old, oldBackup, stateUnknown)
		a.WriteTo, a.Writes = "", writesUnknown
	case !present:
		a.settle(snapshot, a.NewCell, a.placement.NewBackup(), stateAbsent)
		// Until every router knows the target, a create could end in either cell.
		if snapshot.Phase == v1alpha1.RingPreparing {
			a.WriteTo, a.Writes = "", writesRetry
		}
	case status == string(v1alpha1.Migrating):
		a.settle(snapshot, old, oldBackup, status)
		a.WriteTo, a.Writes = "", writesRetry
	case status == string(v1alpha1.Migrated):
		a.settle(snapshot, a.NewCell, a.placement.NewBackup(), status)
	default:
		a.settle(snapshot, old, oldBackup, statePending)
	}
}
