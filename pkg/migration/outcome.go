package migration

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Outcome is what became of a unit.
type Outcome string

// The outcomes. docs/migration.md says what an operator does about each.
const (
	// Moved: the unit is in the new cell, and counts there.
	Moved Outcome = "Moved"
	// Deferred: an object is being deleted. It is left to finish, and the unit with it.
	Deferred Outcome = "Deferred"
	// Gone: all objects were deleted before they could move.
	Gone Outcome = "Gone"
	// Exists: the new cell has an object of that name which is no copy of this one.
	Exists Outcome = "Exists"
	// Refused: a cell refuses a write, for its quota, admission or validation.
	Refused Outcome = "Refused"
	// Changed: the new cell's admission or defaults made something else of the copy.
	Changed Outcome = "Changed"
	// NoKind: the new cell does not serve the version that the old one has the object in.
	NoKind Outcome = "NoKind"
	// TooLarge: with its marks the object would exceed what a cell can store.
	TooLarge Outcome = "TooLarge"
	// Cycle: the owner references form a circle.
	Cycle Outcome = "Cycle"
	// OwnerMissing: an owner is neither part of the unit nor in the new cell.
	OwnerMissing Outcome = "OwnerMissing"
	// Unavailable: a cell did not answer, or things changed too fast. Try again.
	Unavailable Outcome = "Unavailable"
)

// Result is what Move did.
type Result struct {
	Outcome Outcome
	// Object is the one that decided, nil where it was not one.
	Object *Object
	// Message is for people: the new cell's words, the name of a field. Empty for Moved and Gone.
	Message string
	// Begun says that the unit could not be undone: one of its objects is marked or was flipped. Only
	// another Move, or Undo where nothing was flipped, ends that.
	Begun bool
	// CopyLeft says that the unit was undone but for a copy that the new cell did not let be removed: see [ErrCopyLeft].
	CopyLeft bool
	// Err is the cause where there is one.
	Err error
}

// Done says whether nothing is left to do for the unit.
func (r Result) Done() bool { return r.Outcome == Moved || r.Outcome == Gone }

// Retryable says whether the same Move may succeed later although nobody does anything.
func (r Result) Retryable() bool { return r.Outcome == Unavailable || r.Outcome == Deferred }

// Problem says why something is left to do for the unit, nil where nothing is.
func (r Result) Problem() error {
	if r.Done() {
		return nil
	}
	return &failure{outcome: r.Outcome, object: r.Object, message: r.Message}
}

// failure ends a Move with an outcome.
type failure struct {
	outcome Outcome
	object  *Object
	message string
	cause   error
}

func (f *failure) Error() string {
	if f.object == nil {
		return fmt.Sprintf("%s: %s", f.outcome, f.message)
	}
	return fmt.Sprintf("%s: %s: %s", f.outcome, f.object, f.message)
}

func (f *failure) Unwrap() error { return f.cause }

func fail(outcome Outcome, object *Object, format string, args ...any) error {
	return &failure{outcome: outcome, object: object, message: fmt.Sprintf(format, args...)}
}

// judge gives the error of a request its outcome.
func judge(object *Object, cell, action string, err error) error {
	if already := (*failure)(nil); err == nil || errors.As(err, &already) {
		return err
	}
	f := &failure{outcome: Unavailable, object: object, message: fmt.Sprintf("%s in cell %s: %v", action, cell, err), cause: err}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), notMover(err):
	case tooLarge(err):
		f.outcome = TooLarge
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), missingNamespace(err):
		f.outcome = Refused
	case apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
		f.outcome = NoKind
	}
	return f
}

// notMover says whether the cell does not let its credentials act as the mover, whatever is asked for: others may. The details
// of such a refusal are of the object in some versions of Kubernetes, and of the user in others; only its words are the same.
func notMover(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), " cannot impersonate")
}

// tooLarge knows the refusals by an apiserver's own limit, by etcd's and by that of their connection. The
// apiserver gives the latter two no reason of their own.
func tooLarge(err error) bool {
	return apierrors.IsRequestEntityTooLargeError(err) ||
		strings.Contains(err.Error(), "request is too large") || strings.Contains(err.Error(), "trying to send message larger than max")
}

// missingNamespace tells a namespace that is not there from a resource that is not served.
func missingNamespace(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil &&
		status.Status().Details.Kind == "namespaces"
}
