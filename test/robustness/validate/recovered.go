package validate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// Recovered judges histories in which cells died and were failed over. What the failovers name as lost is gone, what they
// name as stale is as its copy was, and nothing else is harmed: every other object is [Linearizable] as if nothing had
// died. What is named and has come to no harm is a problem as well.
func Recovered(ops []history.Op, losses []history.Loss) []string {
	byKey, lost := telling(ops), map[string][]history.Loss{}
	for _, loss := range losses {
		lost[loss.Key] = append(lost[loss.Key], loss)
		if _, asked := byKey[loss.Key]; !asked {
			byKey[loss.Key] = nil
		}
	}
	var out []string
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		if problem := recovered(key, byKey[key], lost[key]); problem != "" {
			out = append(out, problem)
		}
	}
	return out
}

// recovered tries what the first of the losses may have done, with all that the others may.
func recovered(key string, ops []history.Op, losses []history.Loss) string {
	if len(losses) == 0 {
		return unordered(key, ops, true)
	}
	problem := fmt.Sprintf("%s: it is named as stale, and nobody has seen a copy of it", key)
	for _, op := range losses[0].Ops() {
		if problem = recovered(key, append(slices.Clone(ops), op), losses[1:]); problem == "" {
			return ""
		}
	}
	return problem
}
