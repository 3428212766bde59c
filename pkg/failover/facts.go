package failover

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

// Facts are what a report is computed from. [Read] collects them.
type Facts struct {
	// Cell that is to be failed over.
	Cell string
	Now  time.Time
	// RCPTime is Now by the clock of the RCP, zero where it is not known. No other clock says whether a router is silent, or how
	// old the mark is.
	RCPTime time.Time
	Ring    *v1alpha1.Ring
	// Cells by name.
	Cells map[string]*v1alpha1.Cell
	// Answers says that the cell answered whoever asks.
	Answers bool
	// Mark is how far the backup of the cell has come; nil where it never said so of this control plane.
	Mark *ledger.Mark
	// MarkStored is when the RCP has stored the mark, by the clock of the RCP, zero where it does not say.
	MarkStored time.Time
	// Pending is, beside the mark, since when something may have happened, by resource, that was in no copy yet; nil where the
	// backup is too old to say so.
	Pending map[schema.GroupResource]time.Time
	// Envelopes is how many copies of the cell's objects there were, by the mark; 0 where it does not say so.
	Envelopes int64
	// TakenOver is how many objects the cell took over by other failovers since the backup of it was complete last.
	TakenOver int64
	// Uncounted is how many of these the count in the status of the cell may not have yet.
	Uncounted int64
	// Left says that other cells have left the ring since the backup of the cell was complete last: copies that it had
	// there are gone, and may not have been made again.
	Left bool
	// Unprotected are the objects of which the backup says that it cannot have them.
	Unprotected []mirror.Unprotected
	// Unnamed is how many more there are of which it says that their backup cell would refuse them.
	Unnamed int64
	// Witnesses are the registered routers.
	Witnesses []Witness
	// Gone are routers as they spoke for an earlier report of the run, which nobody can ask any more; Named is what that report
	// named where this driver did not hear them itself, nil where they can all be asked.
	Gone  []Witness
	Named *Named
	// Moved are the objects, by [Key], that a rebalance in flight has taken from the cell to where their key moves: what a
	// router remembers of them is in that cell as well.
	Moved map[string]bool
	// Survivors are the other cells of the ring, unless they were failed over themselves.
	Survivors []Survivor
}

// Witness is a router, and what it says.
type Witness struct {
	routers.Router
	// Err says why it could not be asked. Then there is no more below than Instead.
	Err error
	// Instead is the router that answered in its place, empty for none.
	Instead string
	View    router.View
	Ledger  ledger.Report
}

// another says whether an answer is that of another router, and notes it. The address of one that has died may be that of the next
// one: a pod was given it, or the router lost its state directory, and with that its name.
func (w *Witness) another(said string) bool {
	if said == "" || said == w.Name {
		return false
	}
	w.Instead, w.Err = said, fmt.Errorf("router %.80q answers at its address %s", said, w.AdminURL) // whoever it is has written that
	return true
}

// silence is for how long the router has not shown that it lives.
func (f *Facts) silence(w *Witness) time.Duration {
	return w.Silence(f.moment())
}

// moment is when the facts were collected, by both clocks.
func (f *Facts) moment() lease.Moment { return lease.Moment{RCP: f.RCPTime, Local: f.Now} }

// heard are the routers that have said what they know.
func (f *Facts) heard() []string {
	out := []string{}
	for _, w := range f.Witnesses {
		if w.Err == nil {
			out = append(out, w.Name)
		}
	}
	return out
}

// silenced says whether one of these routers has not; nil for all that can be asked.
func (f *Facts) silenced(of []string) bool {
	return slices.ContainsFunc(f.Witnesses, func(w Witness) bool {
		return w.Err != nil && (slices.Contains(of, w.Name) || of == nil && w.AdminURL != "")
	})
}

// Survivor is a cell, the copies that it has of the failing one's objects, and what it handed to that one.
type Survivor struct {
	Cell string
	// Err says why it could not be asked.
	Err    error
	Copies []Copy
	// Handed are the objects that it has handed to the failing cell.
	Handed []Handed
}

// Copy is an envelope.
type Copy struct {
	// Secret is its name, UID and Version are its own.
	Secret  string
	UID     types.UID
	Version string
	// Header is empty where it cannot be read.
	Header envelope.Header
	// Corrupt says why it is of no use: its header cannot be read, or its data is not what the header says. nil where it
	// is whole, as far as it was read.
	Corrupt error
}
