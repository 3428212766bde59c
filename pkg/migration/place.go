package migration

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/pause"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

const (
	// awaitDeletion is how long a copy that is being deleted is waited for, looked at every lookAgain.
	awaitDeletion = 10 * time.Second
	lookAgain     = 20 * time.Millisecond
)

// place sees to it that the new cell has the copy, whole and as it has to be.
func (r *run) place(ctx context.Context, i *item) error {
	if !i.pending() {
		return nil
	}
	var err error
	if i.want, err = r.desired(ctx, i); err != nil {
		return err
	}
	for range tries {
		ours, err := r.obtain(ctx, i)
		if err != nil {
			return err
		}
		if ours {
			done, err := r.complete(ctx, i)
			if done || err != nil {
				return err
			}
		}
		i.copy = nil // it was removed, or changed by somebody
	}
	return fail(Unavailable, &i.Object, "cell %s had another copy %d times", r.to.Name, tries)
}

// obtain gets at a copy: a new one, or one that is there already. Where it is not ours, what was in the
// way is gone, or on its way out.
func (r *run) obtain(ctx context.Context, i *item) (ours bool, err error) {
	if i.copy != nil {
		return r.reuse(ctx, i)
	}
	i.copy, err = r.create(ctx, i)
	if !apierrors.IsAlreadyExists(err) {
		return err == nil, err
	}
	i.copy, err = r.to.get(ctx, &i.Object)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, judge(&i.Object, r.to.Name, "read", err)
	}
	return r.reuse(ctx, i)
}

// create makes the copy. Where a Service asks for what another one has, the cell gives out something else.
func (r *run) create(ctx context.Context, i *item) (*document, error) {
	for refused := 0; ; {
		body, err := r.body(i, "")
		if err != nil {
			return nil, err
		}
		made, err := r.to.create(ctx, &i.Object, body)
		if give := taken(i.Resource, err).or(i.give); err != nil && give != i.give {
			// An earlier copy or a tombstone of the Service itself may have them.
			if _, err := r.to.get(ctx, &i.Object); err == nil {
				return nil, apierrors.NewAlreadyExists(i.Resource.GroupResource(), i.Name)
			}
			i.give = give
			if err := adapt(i.Resource, i.want, give); err != nil {
				return nil, err
			}
			continue
		}
		if apierrors.IsAlreadyExists(err) {
			return nil, err
		}
		if err != nil && refused < tries && r.makeRoom(ctx, i, err) {
			refused++
			if pause.For(ctx, time.Duration(refused)*lookAgain) == nil {
				continue // the apiserver sees a moment later that it may
			}
		}
		if err != nil {
			return nil, judge(&i.Object, r.to.Name, "create", err)
		}
		r.step(Created, &i.Object)
		return made, nil
	}
}

// makeRoom is true where a quota has refused the copy, and does not any more. The copy counts in the new cell, and
// until its tombstone is buried the original in the old one.
func (r *run) makeRoom(ctx context.Context, i *item, err error) bool {
	return r.Room != nil && apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota: ") &&
		r.Room(ctx, r.to.Name, i.Namespace, err)
}

// reuse makes what is there the copy, or removes it. It fails where it is not ours.
func (r *run) reuse(ctx context.Context, i *item) (ours bool, err error) {
	if i.copy.deleting() {
		if i.copy.status() == v1alpha1.Incoming { // no controller of its finalizers gets past the fence
			if err := r.remove(ctx, r.to, i, i.copy); err != nil {
				return false, err
			}
		}
		return false, r.awaitGone(ctx, i)
	}
	switch i.copy.status() {
	case v1alpha1.Migrated:
		// The object is back before its tombstone was buried. It gets its old UID again, and a Service the
		// addresses that the tombstone has kept.
		return r.refresh(ctx, i)
	case v1alpha1.Incoming:
		if i.copy.annotations[v1alpha1.AnnotationFromUID] != string(i.source.uid()) ||
			i.copy.annotations[v1alpha1.AnnotationFromCell] != r.unit.From {
			return false, r.clear(ctx, i)
		}
		return r.refresh(ctx, i)
	case "":
		if r.madeForCopy(i) {
			return false, r.clear(ctx, i)
		}
	}
	return false, fail(Exists, &i.Object, "cell %s has an object of that name which is no copy", r.to.Name)
}

// madeForCopy says whether a controller of the new cell has made a Dependent object already, because it
// saw the owner there. It stands for nothing that anybody wrote, unless it is the older one, and its owner has arrived: clients may have
// written it before a controller of the old cell, which did not know that the owner had moved, made the other.
func (r *run) madeForCopy(i *item) bool {
	if i.Resource.Class != placement.Dependent {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, owner := range i.copy.owners {
		for old, uid := range r.newUIDs {
			if uid == owner.UID {
				late := r.arrivedBefore(old) && i.copy.created().Before(i.source.created())
				return !late || slices.ContainsFunc(r.items, (*item).half) // what counts nowhere must go on
			}
		}
	}
	return false
}

// arrivedBefore says of a UID in the old cell whether it is that of the tombstone of a move that has ended. The caller holds mu.
func (r *run) arrivedBefore(old types.UID) bool {
	return slices.ContainsFunc(r.items, func(i *item) bool { return i.id() == old && i.arrived })
}

// refresh brings an earlier copy of the same object up to date, or makes one of its tombstone: the UID
// stays, and what it owns with it. Where that cannot be it is removed.
func (r *run) refresh(ctx context.Context, i *item) (bool, error) {
	same, err := r.upToDate(i)
	if err != nil {
		return false, err
	}
	if same {
		if r.shared {
			return true, nil // nobody takes it back whom a write would have to stop
		}
		return r.keep(ctx, i)
	}
	body, err := r.body(i, i.copy.version())
	if err != nil {
		return false, err
	}
	updated, err := r.to.update(ctx, &i.Object, body)
	switch {
	case apierrors.IsInvalid(err), apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return false, r.clear(ctx, i)
	case err != nil:
		return false, judge(&i.Object, r.to.Name, "update", err)
	}
	i.copy = updated
	r.step(Updated, &i.Object)
	return true, nil
}

// keep takes over a copy that is as it has to be. It is written all the same, so that nobody who has read it before
// deletes it: see [Mover.Undo]. One that somebody has written or deleted meanwhile is not ours.
func (r *run) keep(ctx context.Context, i *item) (ours bool, err error) {
	patch, err := patchOf(map[string]any{
		"uid": i.copy.uid(), "resourceVersion": i.copy.version(),
		"annotations": map[string]string{v1alpha1.AnnotationKept: strconv.FormatInt(r.Clock.Now().UnixNano(), 10)},
	})
	if err != nil {
		return false, err
	}
	kept, err := r.to.patch(ctx, &i.Object, patch)
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return false, r.clear(ctx, i)
	case err != nil:
		return false, judge(&i.Object, r.to.Name, "keep the copy", err)
	}
	i.copy = kept
	r.step(Kept, &i.Object)
	return true, nil
}

// clear removes what is in the way, after the copies of what it may own: the garbage collector has to take
// the owner off these, and the fence would refuse that.
func (r *run) clear(ctx context.Context, i *item) error {
	for _, other := range slices.Backward(r.items) {
		if other.generation <= i.generation || !other.pending() {
			continue
		}
		if err := r.discard(ctx, other, func(*document) bool { return true }); err != nil {
			return err
		}
		r.mu.Lock()
		other.copy = nil // others may find it in their way at once
		r.mu.Unlock()
	}
	return r.remove(ctx, r.to, i, i.copy)
}

// awaitGone returns when the copy that is being deleted is gone: its dependents are orphaned first.
func (r *run) awaitGone(ctx context.Context, i *item) error {
	deadline := time.NewTimer(awaitDeletion)
	defer deadline.Stop()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		found, err := r.to.get(ctx, &i.Object)
		switch {
		case apierrors.IsNotFound(err) || err == nil && found.uid() != i.copy.uid():
			return nil
		case err != nil:
			return judge(&i.Object, r.to.Name, "read", err)
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fail(Unavailable, &i.Object, "cell %s still deletes an earlier copy", r.to.Name)
		case <-ctx.Done():
			return judge(&i.Object, r.to.Name, "wait for the deletion of an earlier copy", ctx.Err())
		}
	}
}
