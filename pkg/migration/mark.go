package migration

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// mark labels the object in the old cell, if it is not yet, and learns its state. The answer to the
// mark is what is copied later. What was not found just now has been looked at before.
//
// It writes all annotations that the tombstone has, in their length: a flip makes no object longer, so
// that none can get stuck after the first.
func (r *run) mark(ctx context.Context, i *item) error {
	for range tries {
		version := i.ResourceVersion
		if i.source != nil {
			version = i.source.version()
		}
		switch {
		case !i.pending():
			return nil
		case i.source != nil && i.source.deleting():
			return r.leave(ctx, i)
		case i.source != nil && r.hasMarked(i.source):
			r.needsBarrier() // an earlier run may have ended before its barrier
			return nil
		}
		patch, err := r.markPatch(version)
		if err != nil {
			return err
		}
		marked, err := r.answered(ctx, &i.Object, patch)
		switch {
		case apierrors.IsNotFound(err):
			i.gone = true
			return nil
		case apierrors.IsConflict(err):
			if err := r.look(ctx, i); err != nil {
				return err
			}
			continue
		case err != nil:
			return judge(&i.Object, r.from.Name, "mark", err)
		}
		i.source = marked
		r.needsBarrier()
		r.step(Marked, &i.Object)
		if marked.deleting() {
			return r.leave(ctx, i)
		}
		return nil
	}
	return fail(Unavailable, &i.Object, "it was changed %d times while it was to be marked", tries)
}

// markPatience is how long the answer to a mark is waited for where the move has been ended meanwhile.
const markPatience = 5 * time.Second

// answered patches the object, and does not give up with ctx at once: the cell carries out what it has received, and whoever
// takes the unit back must not look for the mark before it is there.
func (r *run) answered(ctx context.Context, o *Object, patch []byte) (*document, error) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(markPatience):
			cancel()
		case <-longer.Done():
		}
	})
	defer stop()
	return r.from.patch(longer, o, patch)
}

func (r *run) markPatch(version string) ([]byte, error) {
	return patchOf(map[string]any{
		"resourceVersion": version,
		"labels":          map[string]string{v1alpha1.LabelRebalanceStatus: string(v1alpha1.Migrating)},
		"annotations": map[string]string{
			v1alpha1.AnnotationRebalance: r.Rebalance, v1alpha1.AnnotationUnit: r.unit.Key,
			v1alpha1.AnnotationMovesTo: r.unit.To, v1alpha1.AnnotationMigrationTime: r.now(),
		},
	})
}

// markAgain does the same for an object that somebody has changed.
func (r *run) markAgain(ctx context.Context, i *item) error {
	if err := r.look(ctx, i); err != nil {
		return err
	}
	return r.mark(ctx, i)
}

// hasMarked says whether the object has the mark of this run, for this unit's new cell.
func (r *run) hasMarked(source *document) bool {
	return source.status() == v1alpha1.Migrating && r.here(source) && source.annotations[v1alpha1.AnnotationRebalance] == r.Rebalance
}

// here says whether an object's mark is one of a move to the unit's new cell.
func (r *run) here(source *document) bool {
	return source.annotations[v1alpha1.AnnotationMovesTo] == r.unit.To
}

// known says whether the object was found just now, as one that nobody has begun to move.
func (i *item) known() bool { return i.Status == "" && i.ResourceVersion != "" }

// look reads the object in the old cell, and the copy of its tombstone in the new one.
func (r *run) look(ctx context.Context, i *item) (err error) {
	i.source, err = r.from.get(ctx, &i.Object)
	switch {
	case apierrors.IsNotFound(err):
		i.source, i.gone = nil, true
		return nil
	case err != nil:
		return judge(&i.Object, r.from.Name, "read", err)
	}
	switch i.source.status() {
	case v1alpha1.Migrated:
		if r.here(i.source) {
			return r.lookAtCopy(ctx, i)
		}
		i.gone = true // a tombstone of a move to elsewhere says that the object does not live here
	case v1alpha1.Incoming:
		i.gone = true
	}
	return nil
}

// lookAtCopy finds out whether the move of a tombstone has ended, and the UID that what the tombstone owned is owned by now.
// One that has ended may be of an earlier run: the object lives in the new cell, or was deleted there since.
func (r *run) lookAtCopy(ctx context.Context, i *item) (err error) {
	if r.to == nil {
		r.setFlipped(i, true)
		return nil
	}
	i.copy, err = r.to.get(ctx, &i.Object)
	switch {
	case apierrors.IsNotFound(err):
		i.copy = nil
	case err != nil:
		return judge(&i.Object, r.to.Name, "read", err)
	default:
		r.learn(i)
	}
	r.setFlipped(i, !r.isCopy(i))
	return nil
}

// isCopy says whether what the new cell has is the incoming copy of this very object.
func (r *run) isCopy(i *item) bool {
	return i.copy != nil && i.copy.status() == v1alpha1.Incoming &&
		i.copy.annotations[v1alpha1.AnnotationFromUID] == string(i.source.uid()) &&
		i.copy.annotations[v1alpha1.AnnotationFromCell] == r.unit.From
}

// leave gives an object that is being deleted up: the unit while it can be undone, else this object.
func (r *run) leave(ctx context.Context, i *item) error {
	if !r.anyFlipped() {
		return fail(Deferred, &i.Object, "it is being deleted")
	}
	i.left = true
	return r.unmark(ctx, i)
}
