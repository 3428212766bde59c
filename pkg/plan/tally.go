package plan

import (
	"math"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// tally counts placements of one table. It is used by one goroutine; tallies of the same table
// are joined with merge.
type tally struct {
	table     *placement.Table
	cells     []string
	workloads int64
	rehomed   int64
	// moves[from×n+to], including from = to, with n cells.
	moves []int64
	// before[owner×(n+1)+backup] and after, where backup n means none.
	before, after []int64
	// cases by number; case 4 counts those that stay.
	cases [6]int64
}

func newTally(table *placement.Table) *tally {
	cells := table.Cells()
	n := len(cells)
	return &tally{
		table: table, cells: cells,
		moves:  make([]int64, n*n),
		before: make([]int64, n*(n+1)), after: make([]int64, n*(n+1)),
	}
}

// add counts one placed workload, but not in workloads.
func (t *tally) add(p placement.Placement) {
	n := len(t.cells)
	from, to := p.OldIndex(), p.NewIndex()
	t.moves[from*n+to]++
	t.before[from*(n+1)+p.OldBackupIndex()]++
	t.after[to*(n+1)+p.NewBackupIndex()]++
	t.cases[p.Case()]++
	if from == to && p.Rehomed() {
		t.rehomed++
	}
}

func (t *tally) merge(other *tally) {
	t.workloads += other.workloads
	t.rehomed += other.rehomed
	addAll(t.moves, other.moves)
	addAll(t.before, other.before)
	addAll(t.after, other.after)
	addAll(t.cases[:], other.cases[:])
}

func addAll(to, from []int64) {
	for i, n := range from {
		to[i] += n
	}
}

func (t *tally) preview() Preview {
	p := Preview{
		Workloads: t.workloads, BackupsRehomed: t.rehomed, KeyShare: t.table.MovedShare(), IdealShare: idealShare(t.table),
		Cases: []CaseMoves{}, Pairs: []PairMoves{}, // empty, not null, in JSON
	}
	p.Cells = t.cellCounts()
	for from, name := range t.cells {
		for to, target := range t.cells {
			if moves := t.moves[from*len(t.cells)+to]; from != to && moves > 0 {
				p.Pairs = append(p.Pairs, PairMoves{From: name, To: target, Moves: moves})
				p.Moves += moves
			}
		}
	}
	p.Stays = p.Workloads - p.Moves
	p.MovedShare = share(p.Moves, p.Workloads)
	p.BackupsRehomedShare = share(p.BackupsRehomed, p.Stays)
	for c, moves := range t.cases {
		if placement.Case(c) != placement.Stays && moves > 0 {
			p.Cases = append(p.Cases, CaseMoves{Case: placement.Case(c), Moves: moves})
		}
	}
	for _, c := range p.Cells {
		if p.Workloads == 0 {
			break // nothing can be uneven
		}
		p.SkewBefore = max(p.SkewBefore, deviation(c.ShareBefore, c.ExpectedBefore))
		p.SkewAfter = max(p.SkewAfter, deviation(c.ShareAfter, c.ExpectedAfter))
		if c.Before == 0 || c.WeightAfter == 0 {
			continue
		}
		change := float64(c.After)/float64(c.Before) - 1
		if p.MaxLoadCell == "" || change > p.MaxLoadChange {
			p.MaxLoadCell, p.MaxLoadChange = c.Cell, change
		}
	}
	return p
}

func (t *tally) cellCounts() []Cell {
	current, target := t.table.Current(), t.table.Target()
	weightsBefore, weightsAfter := weights(current), weights(target)
	n := len(t.cells)
	out := make([]Cell, n)
	for i, name := range t.cells {
		c := Cell{
			Cell: name, WeightBefore: weightsBefore[name], WeightAfter: weightsAfter[name],
			Stays:          t.moves[i*n+i],
			ExpectedBefore: current.WeightShare(name), ExpectedAfter: target.WeightShare(name),
		}
		for j := range n {
			c.Before += t.moves[i*n+j]
			c.After += t.moves[j*n+i]
		}
		c.Out, c.In = c.Before-c.Stays, c.After-c.Stays
		c.ShareBefore, c.ShareAfter = share(c.Before, t.workloads), share(c.After, t.workloads)
		out[i] = c
	}
	return out
}

// idealShare is the smallest share of keys that has to move: what the cells whose weight's share
// grows gain together.
func idealShare(table *placement.Table) float64 {
	ideal := 0.0
	for _, cell := range table.Cells() {
		ideal += max(0, table.Target().WeightShare(cell)-table.Current().WeightShare(cell))
	}
	return ideal
}

func weights(r *placement.Ring) map[string]int {
	out := map[string]int{}
	for _, m := range r.Members() {
		out[m.Cell] = m.Weight
	}
	return out
}

// deviation is relative to what was expected; a cell that is not in the ring has none.
func deviation(actual, expected float64) float64 {
	if expected == 0 {
		return 0
	}
	return math.Abs(actual/expected - 1)
}

func share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
