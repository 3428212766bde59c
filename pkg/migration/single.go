package migration

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// ErrChanged is returned for an object that is not the one, or not in the version, that was found.
var ErrChanged = errors.New("it was changed meanwhile")

// ObjectOf is the object that metadata of a resource describes.
func ObjectOf(resource Resource, meta *metav1.PartialObjectMetadata) Object {
	return objectOf(resource, meta)
}

// Path is where an apiserver serves the object.
func (o *Object) Path() string { return o.path(o.Name) }

// Raw reads an object, as the JSON that the cell serves.
func (c *Cell) Raw(ctx context.Context, o Object) ([]byte, error) {
	body, err := c.client.Get().AbsPath(o.Path()).Do(ctx).Raw()
	if err != nil {
		return nil, fmt.Errorf("read %s in cell %s: %w", o, c.Name, err)
	}
	return body, nil
}

// Remove deletes an object as tombstones are deleted, so that nothing is torn down: its finalizers are not heard, and what
// it owns stays. The error is [ErrChanged] for one that is not in the version that was found. One that is gone is no
// error.
func (c *Cell) Remove(ctx context.Context, o Object) error {
	found, err := c.get(ctx, &o)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("read %s in cell %s: %w", o, c.Name, err)
	case found.uid() != o.UID, found.version() != o.ResourceVersion:
		return fmt.Errorf("remove %s in cell %s: %w", o, c.Name, ErrChanged)
	}
	r := &run{Mover: &Mover{}, to: c}
	return r.remove(ctx, c, &item{Object: o}, found)
}

// Gather makes a unit of one object and what hangs from it in its cell, for a move that no ring asks for.
func Gather(ctx context.Context, from *Cell, snap *routing.Snapshot, key, to string, o Object) (Unit, error) {
	f := newFinder(from, snap, nil)
	at := route{key, to}
	f.add(at, o, &metav1.PartialObjectMetadata{}, true)
	if err := f.dependents(ctx); err != nil {
		return Unit{}, fmt.Errorf("find what hangs from %s: %w", o, err)
	}
	return f.units[at].Unit, nil
}
