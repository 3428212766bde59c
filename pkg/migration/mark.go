package migration

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// mark labels the object in the old cell, if it is not yet, and learns its state. The answer to the
// mark is what is copied later.
//
// It writes all annotations that the tombstone has, in their length: a flip makes no object longer, so
// that none can get stuck after the first.
func (r *run) mark(ctx context.Context, i *item) error {
	known := i.Status == "" && i.ResourceVersion != "" && i.source == nil
	for range tries {
		version := i.ResourceVersion
		if !known {
			if done, err := r.look(ctx, i); done || err != nil {
				return err
			}
			version = i.source.version()
		}
		known = false
		patch, err := r.markPatch(version)
		if err != nil {
			return err
		}
		marked, err := r.from.patch(ctx, &i.Object, patch)
		switch {
		case apierrors.IsNotFound(err):
			i.gone = true
			return nil
		case apierrors.IsConflict(err):
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

// look reads the object in the old cell. It is done where no mark is to be set.
func (r *run) look(ctx context.Context, i *item) (done bool, err error) {
	i.source, err = r.from.get(ctx, &i.Object)
	switch {
	case apierrors.IsNotFound(err):
		i.gone = true
		return true, nil
	case err != nil:
		return true, judge(&i.Object, r.from.Name, "read", err)
	}
	here := i.source.annotations[v1alpha1.AnnotationMovesTo] == r.unit.To
	switch i.source.status() {
	case v1alpha1.Migrated:
		// A tombstone of a move to elsewhere says that the object does not live here.
		if here {
			r.isFlipped(i)
		}
		i.gone = !here
		return true, nil
	case v1alpha1.Incoming:
		i.gone = true
		return true, nil
	}
	if i.source.deleting() {
		return true, r.leave(ctx, i)
	}
	if i.source.status() == v1alpha1.Migrating && here && i.source.annotations[v1alpha1.AnnotationRebalance] == r.Rebalance {
		r.needsBarrier() // an earlier run may have ended before its barrier
		return true, nil
	}
	return false, nil
}

// leave gives an object that is being deleted up: the unit while it can be undone, else this object.
func (r *run) leave(ctx context.Context, i *item) error {
	if !r.anyFlipped() {
		return fail(Deferred, &i.Object, "it is being deleted")
	}
	i.left = true
	return r.unmark(ctx, i)
}
