package promotion

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// other is the second cell of a key that moves, nil where it does not move. moving is true where that is the one that
// it moves from.
func (a *attempt) other() (other *Cell, moving bool, err error) {
	place, _ := a.Snapshot.Table.LookupKey(a.envelope.Unit)
	if !place.Moves() {
		return nil, false, nil
	}
	name := place.Old()
	if moving = name != a.cell.Name; !moving {
		name = place.New()
	}
	if other = a.Cells[name]; other == nil {
		return nil, moving, fmt.Errorf("cell %s is not connected", name)
	}
	return other, moving, nil
}

// rival looks into the other cell of a key that moves. It has decided where the object counts there, or is to be
// promoted there.
func (a *attempt) rival(ctx context.Context) (result Result, again, decided bool) {
	other, from, err := a.other()
	if err != nil {
		return a.result.with(Unavailable, err.Error(), err), false, true
	}
	if other == nil {
		return a.result, false, false
	}
	object := migration.Object{Resource: a.original.Resource, Namespace: a.envelope.Namespace, Name: a.envelope.Name}
	found, err := other.Look(ctx, object)
	if err != nil {
		return a.failed(ctx, migration.Failed(err)), false, true
	}
	if found != nil && countsThere(found) {
		result, again = a.drop(ctx, "the object is in cell "+other.Name)
		return result, again, true
	}
	// Whatever else there is, a tombstone as well, becomes the object where its envelope comes first. That has to be the same
	// from either cell: of two promoters each would commit another envelope otherwise, and drop the other one's.
	first, alike, err := a.comesFirst(ctx, other, from)
	if err != nil {
		return a.result.with(Unavailable, err.Error(), err), false, true
	}
	if !first {
		return a.result, false, false
	}
	of := a.promote(ctx, other.Name, a.secret.Name, nil, a.waiting)
	switch {
	case of.Outcome == None, of.Outcome == Elsewhere:
		return a.result, false, false
	case of.Done():
		return a.result, true, true // this envelope went with it, or is of no use any more
	case of.Doubtful() && !alike && !a.Final:
		return a.behind(of), false, true
	case of.unfit():
		a.instead, a.result.twin = true, ""
		return a.result, false, false
	}
	return of, false, true
}

// countsThere says whether what the other cell has is the object, rather than a copy or a tombstone of it.
func countsThere(found *metav1.PartialObjectMetadata) bool {
	state := v1alpha1.RebalanceStatus(found.Labels[v1alpha1.LabelRebalanceStatus])
	return state == "" || state == v1alpha1.Migrating
}

// behind is the result of an envelope whose twin may have a newer state, and may be promoted yet.
func (a *attempt) behind(of Result) Result {
	result := a.result.with(of.Outcome, fmt.Sprintf("its newer envelope: %s", of), of.Err)
	result.lacks, result.yields, result.twin = of.lacks, true, ""
	return result
}

// comesFirst says whether the twin of the envelope is to be promoted rather than this one: the one that was committed is,
// then the one with the newer state, then the one where the key moves from. They are alike where both hold the same state.
func (a *attempt) comesFirst(ctx context.Context, other *Cell, from bool) (first, alike bool, err error) {
	twin, header, err := a.twin(ctx, other)
	if twin == nil || err != nil {
		return false, false, err
	}
	here, there := a.envelope.ResourceVersion, header.ResourceVersion
	same := header.SourceCell == a.envelope.SourceCell
	switch {
	case header.Promoted != "":
		first = true
	case same && here != there:
		first = number(there) > number(here)
	default:
		first = from
	}
	return first, same && here == there, nil
}

// twin is the envelope of the same object in the other cell of a key that moves, nil where there is none. What has its name
// and is no twin is none.
func (a *attempt) twin(ctx context.Context, other *Cell) (*metav1.PartialObjectMetadata, envelope.Header, error) {
	found, err := other.meta.Get(ctx, a.secret.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, envelope.Header{}, nil
	}
	if err != nil {
		return nil, envelope.Header{}, fmt.Errorf("read the twin of the envelope in cell %s: %w", other.Name, err)
	}
	header, err := envelope.HeaderOf(&corev1.Secret{ObjectMeta: found.ObjectMeta})
	if err != nil || !a.belongs(other.Name, &header) {
		return nil, envelope.Header{}, nil //nolint:nilerr // what is no twin stays, whatever it is
	}
	return found, header, nil
}

// untwin deletes the twin of the envelope before the object shows: it must not be made again should somebody delete it.
func (a *attempt) untwin(ctx context.Context) error {
	other, _, err := a.other()
	if err != nil || other == nil {
		return err
	}
	twin, _, err := a.twin(ctx, other)
	if twin == nil || err != nil {
		return err
	}
	if err := other.drop(ctx, twin, ""); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete the twin of the envelope in cell %s: %w", other.Name, err)
	}
	a.report(Untwinned, other, a.result.Object)
	return nil
}

// retire deletes the twin that cannot be promoted before this envelope is committed: what kept it back may be gone by now,
// and of the two one alone may ever be. It is false where somebody has promoted the twin.
func (a *attempt) retire(ctx context.Context) (bool, error) {
	other, _, err := a.other()
	if err != nil {
		return false, err
	}
	twin, header, err := a.twin(ctx, other)
	switch {
	case err != nil:
		return false, err
	case twin == nil:
		return true, nil // and this one with it, if it was promoted
	case header.Promoted != "":
		return false, nil
	}
	err = other.drop(ctx, twin, twin.ResourceVersion)
	switch {
	case apierrors.IsConflict(err):
		return false, nil
	case err != nil && !apierrors.IsNotFound(err):
		return false, fmt.Errorf("delete the twin of the envelope in cell %s: %w", other.Name, err)
	}
	a.report(Untwinned, other, a.result.Object)
	if left, err := a.mover(other).Staged(ctx, other.Name, a.original); err == nil && left != nil {
		_ = left.Remove(ctx) // a copy that was not finished. Should it stay, a create removes it.
	}
	return true, nil
}
