package cli_test

import (
	"fmt"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// pick is the command of scripts that finds a name in the namespace payments by its placement and
// sets a variable to it:
//
//	pick VARIABLE CURRENT-CELL BACKUP-CELL [TARGET-CELL]
//
// The current ring is the one that the bed was founded with, the target ring gives cell-3 the weight
// 200. Without TARGET-CELL neither the cell nor the backup cell of the name changes. Every pick of a
// script is another name, and all are equally long.
func pick(ts *testscript.TestScript, _ bool, args []string) {
	current, err := placement.NewRing(members(100), bedPoints)
	ts.Check(err)
	target, err := placement.NewRing(members(200), bedPoints)
	ts.Check(err)
	table := placement.NewTable(current, target)
	for i := 100; i < 1000; i++ {
		name := fmt.Sprintf("app-%d", i)
		p, _ := table.Lookup(placement.NamespacedName, "payments", name)
		if p.Old() != args[1] || p.OldBackup() != args[2] || ts.Getenv("PICKED_"+name) != "" {
			continue
		}
		stays := !p.Moves() && !p.Rehomed()
		if len(args) == 3 && stays || len(args) == 4 && p.Moves() && p.New() == args[3] {
			ts.Setenv(args[0], name)
			ts.Setenv("PICKED_"+name, "yes")
			return
		}
	}
	ts.Fatalf("no name is placed like that")
}

// members are those of the bed, with another weight of cell-3.
func members(third int) []placement.Member {
	return []placement.Member{{Cell: "cell-1", Weight: 100}, {Cell: "cell-2", Weight: 100}, {Cell: "cell-3", Weight: third}}
}

// bedPoints is the number of points for each unit of weight in the rings of the scripts.
const bedPoints = 100
