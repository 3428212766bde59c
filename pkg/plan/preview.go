package plan

import "github.com/kubecell/kubectl-cell/pkg/placement"

// Preview is what a rebalance from the current to the target ring would do to a set of
// workloads. Shares are parts of 1, not percentages.
type Preview struct {
	// Workloads is the number of workloads looked at.
	Workloads int64 `json:"workloads"`
	// Moves is the number of those whose cell changes; Stays the others.
	Moves int64 `json:"moves"`
	Stays int64 `json:"stays"`
	// MovedShare is Moves ÷ Workloads.
	MovedShare float64 `json:"movedShare"`
	// KeyShare is the part of all possible keys that moves: where MovedShare comes to with many
	// workloads. It tells chance, which a few hundred workloads are subject to, from a bad ring.
	KeyShare float64 `json:"keyShare"`
	// IdealShare is the smallest share that any placement would have to move to go from the
	// old weights' shares to the new ones: the sum of what the growing cells gain.
	IdealShare float64 `json:"idealShare"`
	// BackupsRehomed is the number of workloads that stay and whose backup cell changes.
	// Those that move get new backups in any case and are not counted.
	BackupsRehomed int64 `json:"backupsRehomed"`
	// BackupsRehomedShare is BackupsRehomed ÷ Stays.
	BackupsRehomedShare float64 `json:"backupsRehomedShare"`
	// SkewBefore and SkewAfter are the largest deviation of a cell's share of the workloads
	// from its weight's share, relative to the latter: 0.03 means that some cell has 3% more or
	// less than it should.
	SkewBefore float64 `json:"skewBefore"`
	SkewAfter  float64 `json:"skewAfter"`
	// MaxLoadCell is the cell in both rings whose number of workloads grows by the largest
	// factor, and MaxLoadChange that growth: 0.081 means 8.1% more. Empty and 0 when no cell
	// with workloads is in both rings.
	MaxLoadCell   string  `json:"maxLoadCell,omitempty"`
	MaxLoadChange float64 `json:"maxLoadChange"`
	// Cases are the moves by case; cases without moves, and case 4, are left out.
	Cases []CaseMoves `json:"cases"`
	// Pairs are the moves from one cell to another, by names; pairs without moves are left out.
	Pairs []PairMoves `json:"pairs"`
	// Cells are all cells of both rings, by name.
	Cells []Cell `json:"cells"`
	// Namespaces is filled only on request, by name.
	Namespaces []Namespace `json:"namespaces,omitempty"`
}

// CaseMoves is the number of moves of one case.
type CaseMoves struct {
	Case  placement.Case `json:"case"`
	Moves int64          `json:"moves"`
}

// PairMoves is the number of moves from one cell to another.
type PairMoves struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Moves int64  `json:"moves"`
}

// Cell is what a rebalance does to one cell.
type Cell struct {
	Cell string `json:"cell"`
	// WeightBefore and WeightAfter are 0 where the cell is not in that ring.
	WeightBefore int `json:"weightBefore"`
	WeightAfter  int `json:"weightAfter"`
	// Before and After are the numbers of workloads; Before - Out + In = After.
	Before int64 `json:"before"`
	After  int64 `json:"after"`
	Stays  int64 `json:"stays"`
	In     int64 `json:"in"`
	Out    int64 `json:"out"`
	// ShareBefore and ShareAfter are parts of all workloads; ExpectedBefore and ExpectedAfter
	// are what the weight entitles the cell to.
	ShareBefore    float64 `json:"shareBefore"`
	ShareAfter     float64 `json:"shareAfter"`
	ExpectedBefore float64 `json:"expectedBefore"`
	ExpectedAfter  float64 `json:"expectedAfter"`
}

// Namespace is what a rebalance does to one namespace.
type Namespace struct {
	Namespace string `json:"namespace"`
	Workloads int64  `json:"workloads"`
	Moves     int64  `json:"moves"`
	// BackupsRehomed counts as in Preview.
	BackupsRehomed int64 `json:"backupsRehomed"`
}
