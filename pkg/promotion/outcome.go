package promotion

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// Outcome is what became of an envelope.
type Outcome string

// The outcomes. Those of [migration.Stage] that are not here mean the same and keep the envelope.
const (
	// Promoted: the object is there, and counts; the envelope is gone.
	Promoted Outcome = "Promoted"
	// Dropped: the envelope is gone, and no object was made of it. It had been promoted and the object deleted since,
	// or something newer of the object is known.
	Dropped Outcome = "Dropped"
	// None: there is no such envelope.
	None Outcome = "None"
	// Elsewhere: the envelope is not to be promoted in this cell: its object is from a cell that lives, or the ring
	// names another cell for it.
	Elsewhere Outcome = "Elsewhere"
	// Conflict: the cell has an object of that name which is no copy. The envelope stays.
	Conflict Outcome = "Conflict"
	// Corrupt: the envelope is not what was sealed. It stays.
	Corrupt Outcome = "Corrupt"

	// Cycle: the owner references form a circle.
	Cycle = Outcome(migration.Cycle)
	// Refused: the cell refuses the object, for a quota, admission, validation or want of its namespace.
	Refused = Outcome(migration.Refused)
	// OwnerMissing: an owner is neither in the cell nor can it be promoted.
	OwnerMissing = Outcome(migration.OwnerMissing)
	// NoKind: the cell did not serve the object's version when it was connected.
	NoKind = Outcome(migration.NoKind)
	// Unavailable: a cell did not answer, or things changed too fast. Try again.
	Unavailable = Outcome(migration.Unavailable)
)

// Result is what Promote did.
type Result struct {
	Outcome Outcome
	// Cell and Envelope are where it is, or was.
	Cell, Envelope string
	// Object is the one in it, such as "deployments.apps payments/checkout"; empty where that is not known.
	Object string
	// UID of the object that was made, or found as having been made.
	UID types.UID
	// Changed says what the cell made something else of, empty for nothing.
	Changed string
	// Message is for people; empty for Promoted and None.
	Message string
	// Err is the cause where there is one.
	Err error
	// lacks says that the cell has no such namespace or kind, or none of an owner.
	lacks bool
	// yields says that an older twin waits for its place.
	yields bool
	// twin is the other cell of a key that moves, "" where it does not, or where the envelope there was tried before.
	twin string
}

// Done says whether nothing is left to do for the envelope.
func (r Result) Done() bool {
	return r.Outcome == Promoted || r.Outcome == Dropped || r.Outcome == None || r.Outcome == Elsewhere
}

// Retryable says whether the same call may succeed later although nobody does anything.
func (r Result) Retryable() bool { return r.Outcome == Unavailable }

// Doubtful says whether the same call may have another outcome once the cell was connected anew: one that had just started, or
// was away, knows more by then. Not for long, but where it [Result.Lacks] something.
func (r Result) Doubtful() bool {
	return r.Outcome == Refused || r.Outcome == NoKind || r.Outcome == OwnerMissing
}

// Lacks says whether the cell has no such namespace, definition or owner, which may be copied to it yet.
func (r Result) Lacks() bool { return r.lacks }

// Yields says whether there is an older envelope of the object, which would take the place of the one that is refused if that
// were [Promoter.Final].
func (r Result) Yields() bool { return r.yields }

// unfit says whether the envelope can never be promoted as things are, while nothing else holds the object in its cell.
func (r Result) unfit() bool { return !r.Done() && !r.Retryable() && r.Outcome != Conflict }

// String is for logs and answers: why the object is not there.
func (r Result) String() string {
	what := r.Object
	if what == "" {
		what = r.Envelope
	}
	if r.Message == "" {
		return fmt.Sprintf("%s in cell %s: %s", what, r.Cell, r.Outcome)
	}
	return fmt.Sprintf("%s in cell %s: %s: %s", what, r.Cell, r.Outcome, r.Message)
}
