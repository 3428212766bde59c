package validate

import (
	"fmt"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// Frozen says which objects were changed in a cell by somebody else while the driver had them marked: the content or the
// status of one that is migrating, which nobody may delete either, anything of one that has migrated, and content or status
// of a copy between its last write and the moment in which it is the object. cells are watches of the cells themselves.
// Scale passes the fence by its nature, so that the replicas of one that is migrating may change until it is a tombstone.
func Frozen(cells []history.Told) []string {
	var out []string
	for _, cell := range cells {
		last := map[string]history.Event{}
		for _, e := range cell.Events {
			before, known := last[e.Key]
			switch {
			case e.Type == history.Relisted:
				clear(last)
			case e.Key == "":
			case e.Type == history.Deleted:
				delete(last, e.Key)
				if known && before.Status == history.Migrating {
					out = append(out, fmt.Sprintf("%s in %s was deleted while it was migrating: %+v", e.Key, cell.Name, before.State))
				}
			default:
				last[e.Key] = e
				if known && thawed(before, e) {
					out = append(out, fmt.Sprintf("%s in %s: %s %+v became %s %+v", e.Key, cell.Name, before.Status, before.State, e.Status, e.State))
				}
			}
		}
	}
	return out
}

func thawed(before, now history.Event) bool {
	switch before.Status {
	case history.Migrating:
		return (now.Status == history.Migrating || now.Status == history.Migrated) && written(before.State, now.State)
	case history.Migrated:
		return now.Status == history.Migrated && (written(before.State, now.State) || before.State.Replicas != now.State.Replicas)
	case history.Incoming:
		return now.Status == "" && written(before.State, now.State)
	}
	return false
}

func written(before, now history.State) bool {
	return before.Mark != now.Mark || before.Reported != now.Reported
}
