package promotion

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// attempt is one look at an envelope, and what follows from it. Each of its steps returns whether one has to look again.
type attempt struct {
	*Promoter
	cell     *Cell
	secret   *corev1.Secret
	version  string // of the secret, as it was read or written last
	envelope *envelope.Envelope
	original migration.Original
	// meta is the object's own in the envelope.
	meta metav1.PartialObjectMetadata
	// waiting are the envelopes that wait for this one.
	waiting []string
	// instead says that the twin of this envelope comes first, and cannot be promoted.
	instead bool
	result  Result
}

func (a *attempt) read() error {
	if err := json.Unmarshal(a.envelope.Object, &a.meta); err != nil {
		return fmt.Errorf("decode metadata: %w", err)
	}
	return nil
}

// run goes through the steps of the package documentation.
func (a *attempt) run(ctx context.Context) (result Result, again bool) {
	if a.envelope.Promoted != "" {
		return a.finish(ctx)
	}
	if a.meta.DeletionTimestamp != nil && len(a.meta.Finalizers) == 0 {
		return a.drop(ctx, "its object was deleted")
	}
	if result, again, decided := a.rival(ctx); decided {
		return result, again
	}
	if result, failed := a.owners(ctx); failed {
		return result, false
	}
	made, err := a.mover(a.cell).Stage(ctx, a.cell.Name, a.original)
	if err != nil {
		failed := migration.Failed(err)
		if failed.Outcome == migration.Exists {
			return a.exists(ctx)
		}
		return a.failed(ctx, failed), false
	}
	if a.instead {
		if retired, err := a.retire(ctx); err != nil {
			return a.result.with(Unavailable, err.Error(), err), false
		} else if !retired {
			if err := made.Remove(ctx); err != nil {
				return a.failed(ctx, migration.Failed(err)), false
			}
			return a.result, true
		}
	}
	version, err := a.cell.commit(ctx, a.secret, made.UID())
	switch {
	case apierrors.IsConflict(err):
		return a.result, true
	case apierrors.IsNotFound(err):
		// Somebody has promoted it, and dropped it. What was made here is an object that was deleted since.
		if err := made.Remove(ctx); err != nil {
			return a.failed(ctx, migration.Failed(err)), false
		}
		return a.result, true
	case err != nil:
		return a.result.with(Unavailable, fmt.Sprintf("commit the envelope: %v", err), err), false
	}
	a.version = version
	a.report(Committed, a.cell, a.result.Object)
	if err := a.untwin(ctx); err != nil {
		return a.result.with(Unavailable, err.Error(), err), false
	}
	a.result.Changed = made.Changed
	return a.reveal(ctx, made)
}

// reveal makes a committed copy the object, and drops the envelope.
func (a *attempt) reveal(ctx context.Context, made *migration.Copy) (result Result, again bool) {
	a.result.UID = made.UID()
	if err := made.Reveal(ctx); err != nil {
		return a.failed(ctx, migration.Failed(err)), false
	}
	if a.meta.DeletionTimestamp != nil && !made.Deleting() {
		if err := made.Delete(ctx); err != nil {
			return a.failed(ctx, migration.Failed(err)), false
		}
		a.report(Deleted, a.cell, a.result.Object)
	}
	result, again = a.drop(ctx, "")
	if result.Outcome == Dropped {
		result.Outcome = Promoted
	}
	return result, again
}

// finish goes on with an envelope that was committed.
func (a *attempt) finish(ctx context.Context) (result Result, again bool) {
	found, err := a.mover(a.cell).Staged(ctx, a.cell.Name, a.original)
	switch {
	case err != nil:
		return a.failed(ctx, migration.Failed(err)), false
	case found == nil || found.UID() != a.envelope.Promoted:
		if err := a.started(ctx); err != nil {
			return a.result.with(Unavailable, err.Error(), err), false // it may not know yet what it has
		}
		if found != nil {
			// A copy that a late promoter has left. Should it stay, a create removes it.
			_ = found.Remove(ctx)
		}
		return a.drop(ctx, "it was promoted, and the object was deleted since")
	}
	if err := a.untwin(ctx); err != nil {
		return a.result.with(Unavailable, err.Error(), err), false
	}
	return a.reveal(ctx, found)
}

// drop deletes the envelope in the version that is known of it.
func (a *attempt) drop(ctx context.Context, why string) (result Result, again bool) {
	err := a.cell.drop(ctx, a.secret, a.version)
	switch {
	case apierrors.IsConflict(err):
		return a.result, true
	case err != nil && !apierrors.IsNotFound(err):
		return a.result.with(Unavailable, fmt.Sprintf("delete the envelope: %v", err), err), false
	}
	a.report(Cleared, a.cell, a.result.Object)
	return a.result.with(Dropped, why, nil), false
}

// exists judges what is in the way of the object.
func (a *attempt) exists(ctx context.Context) (result Result, again bool) {
	now, err := a.cell.meta.Get(ctx, a.secret.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return a.result, true
	case err != nil:
		return a.result.with(Unavailable, fmt.Sprintf("read the envelope: %v", err), err), false
	case now.UID != a.secret.UID || now.ResourceVersion != a.version:
		return a.result, true // another promoter has made it
	}
	found, err := a.mover(a.cell).Staged(ctx, a.cell.Name, a.original)
	switch {
	case err != nil:
		return a.failed(ctx, migration.Failed(err)), false
	case found == nil || found.Status() == v1alpha1.Incoming:
		return a.result, true
	case number(found.PlacementEpoch()) > number(a.meta.Annotations[v1alpha1.AnnotationPlacementEpoch]):
		return a.drop(ctx, "the object has moved here since")
	}
	if made, err := a.remade(ctx, found); made || err != nil {
		if err != nil {
			return a.failed(ctx, migration.Failed(err)), false
		}
		return a.drop(ctx, "a controller has made the object again, for its owner")
	}
	return a.result.with(Conflict, "the cell has an object of that name which is no copy", nil), false
}

// number is an epoch or a version, 0 where there is none.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// failed is what became of a request. A cell's refusal is believed only where it has started completely: what is refused for good
// is kept, or has its twin take its place.
func (a *attempt) failed(ctx context.Context, f migration.Result) Result {
	outcome := Outcome(f.Outcome)
	if outcome == Refused || outcome == NoKind {
		if err := a.started(ctx); err != nil {
			return a.result.with(Unavailable, fmt.Sprintf("%v: %s", err, f.Message), f.Err)
		}
	}
	result := a.result.with(outcome, f.Message, f.Err)
	result.lacks = outcome == NoKind || outcome == OwnerMissing || outcome == Refused && apierrors.IsNotFound(f.Err)
	return result
}

// started says by nil that the cells that were asked have started completely.
func (a *attempt) started(ctx context.Context) error {
	cells := []*Cell{a.cell}
	if other, _, err := a.other(); err == nil && other != nil {
		cells = append(cells, other)
	}
	for _, cell := range cells {
		if err := cell.started(ctx); err != nil {
			return fmt.Errorf("cell %s is starting (%w)", cell.Name, err)
		}
	}
	return nil
}
