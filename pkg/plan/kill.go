package plan

import (
	"slices"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// killSets turns the names of each set into marks by cell index.
func killSets(table *placement.Table, sets [][]string) ([][]bool, error) {
	cells := table.Cells()
	out := make([][]bool, 0, len(sets))
	for _, set := range sets {
		dead := make([]bool, len(cells)+1)
		for _, name := range set {
			i := slices.Index(cells, name)
			if i < 0 {
				return nil, &ChangeError{Change: "kill", Cell: name, Problem: "no such cell", Known: cells}
			}
			dead[i] = true
		}
		// A workload without a backup has nothing that could survive in it.
		dead[len(cells)] = true
		out = append(out, dead)
	}
	return out, nil
}

// kill counts what dies with the cells; dead is by cell index, the last one standing for "no
// backup".
func (t *tally) kill(cells []string, dead []bool) Kill {
	k := Kill{Cells: cells}
	n := len(t.cells) + 1
	for owner := range t.cells {
		if !dead[owner] {
			continue
		}
		for backup := range n {
			if dead[backup] {
				k.LosesBoth += t.before[owner*n+backup]
				k.LosesBothAfter += t.after[owner*n+backup]
			} else {
				k.FailsOver += t.before[owner*n+backup]
			}
		}
	}
	k.LosesBothShare = share(k.LosesBoth, t.workloads)
	k.FailsOverShare = share(k.FailsOver, t.workloads)
	k.LosesBothAfterShare = share(k.LosesBothAfter, t.workloads)
	return k
}
