package validate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// OwnedOnce says which keys two cells would have accepted writes for at one instant. A cell that shows an object
// unmarked and in the same version in two reads of a round would have accepted one at any moment between them; another
// cell must not show it unmarked in a read in between.
func OwnedOnce(rounds []history.Round) []string {
	found := map[string]bool{}
	for _, round := range rounds {
		for i, first := range round {
			for k := i + 2; k < len(round); k++ {
				if round[k].Cell != first.Cell {
					continue
				}
				for _, between := range round[i+1 : k] {
					both(first, between, round[k], found)
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func both(first, between, second history.Read, found map[string]bool) {
	if between.Cell == first.Cell {
		return
	}
	for key, before := range first.Copies {
		after, still := second.Copies[key]
		other, there := between.Copies[key]
		if !still || !there || before.Version != after.Version || before.Status != "" || other.Status != "" {
			continue
		}
		found[fmt.Sprintf("%s: %s accepts writes (version %s, mark %s) and so does %s (version %s, mark %s)",
			key, first.Cell, before.Version, before.Mark, between.Cell, other.Version, other.Mark)] = true
	}
}
