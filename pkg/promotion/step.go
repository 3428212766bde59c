package promotion

import "github.com/kubecell/kubectl-cell/pkg/migration"

// StepName is one of the steps of the package documentation.
type StepName string

// The steps, in the order in which they are taken.
const (
	Created            = StepName(migration.Created)
	Updated            = StepName(migration.Updated)
	Stated             = StepName(migration.Stated)
	Verified           = StepName(migration.Verified)
	Committed StepName = "committed"
	Untwinned StepName = "untwinned"
	Revealed           = StepName(migration.Revealed)
	Deleted   StepName = "deleted"
	Released           = StepName(migration.Released)
	Discarded          = StepName(migration.Discarded)
	Cleared   StepName = "cleared"
)

// Step is reported after it was done, before the next request is made.
type Step struct {
	Name StepName
	// Cell and Object that it concerns.
	Cell, Object string
}
