package failover

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

// Facts are what a report is computed from. [Read] collects them.
type Facts struct {
	// Cell that is to be failed over.
	Cell string
	Now  time.Time
	Ring *v1alpha1.Ring
	// Cells by name.
	Cells map[string]*v1alpha1.Cell
	// Answers says that the cell answered whoever asks.
	Answers bool
	// Mark is how far the backup of the cell has come; nil where it never said so.
	Mark *ledger.Mark
	// Unprotected are the objects of which the backup says that it cannot have them.
	Unprotected []mirror.Unprotected
	// Witnesses are the registered routers.
	Witnesses []Witness
	// Moved are the objects, by [Key], that a rebalance in flight has taken from the cell to where their key moves: what a
	// router remembers of them is in that cell as well.
	Moved map[string]bool
	// Survivors are the other cells of the ring, unless they were failed over themselves.
	Survivors []Survivor
}

// Witness is a router, and what it says.
type Witness struct {
	routers.Router
	// Err says why it could not be asked. Then there is nothing below.
	Err    error
	View   router.View
	Ledger ledger.Report
}

// Survivor is a cell, and the copies that it has of the failing one's objects.
type Survivor struct {
	Cell string
	// Err says why it could not be asked.
	Err    error
	Copies []Copy
}

// Copy is an envelope by its metadata.
type Copy struct {
	// Secret is its name, and UID its own.
	Secret string
	UID    types.UID
	Header envelope.Header
	// Corrupt says why there is no header; nil where there is one.
	Corrupt error
}
