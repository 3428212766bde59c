package migration

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Original is an object whose cell cannot be asked any more, as it was when it was read last.
type Original struct {
	// Cell that the object was in.
	Cell string
	// Resource as the new cell serves it, in the version of Body.
	Resource Resource
	// Body is its JSON as the old cell served it.
	Body []byte
}

// Copy is what the new cell has of an Original, or of another object of that name. One goroutine uses it.
type Copy struct {
	run  *run
	item *item
	// Changed is the first field of which the new cell's admission made something else, empty where it made of none.
	Changed string
}

// Origin is the value of [v1alpha1.AnnotationPromotedFrom] for one state of an object. Two that are equal are the same.
func Origin(cell string, uid types.UID, version string) string {
	return cell + "/" + string(uid) + "/" + version
}

// Object is the Original.
func (c *Copy) Object() Object { return c.item.Object }

// UID in the new cell.
func (c *Copy) UID() types.UID { return c.item.copy.uid() }

// Status is where the copy stands: Incoming until it was revealed.
func (c *Copy) Status() v1alpha1.RebalanceStatus { return c.item.copy.status() }

// PlacementEpoch is the annotation of that name, "" where there is none.
func (c *Copy) PlacementEpoch() string {
	return c.item.copy.annotations[v1alpha1.AnnotationPlacementEpoch]
}

// Owners of what the new cell has.
func (c *Copy) Owners() []metav1.OwnerReference { return c.item.copy.owners }

// Deleting says whether what the new cell has is being deleted.
func (c *Copy) Deleting() bool { return c.item.copy.deleting() }

// Stage makes the incoming copy of an Original in a cell, or finds it there, as the steps created to verified of
// [Mover.Move] do. Any number of callers may do so at once, for the same Original: there is one copy in the end. It is
// inert until somebody reveals it. Owners have to be in the cell before.
//
// The error is one for [Failed]. Exists means that the cell has an object of that name which is no copy of this one.
func (m *Mover) Stage(ctx context.Context, to string, original Original) (*Copy, error) {
	c, err := m.restoring(to, original)
	if err != nil {
		return nil, err
	}
	err = c.run.place(ctx, c.item)
	if f := (*failure)(nil); errors.As(err, &f) && f.outcome == Changed {
		// What a cell makes of it is better than nothing: there is no other one.
		c.Changed, err = f.message, nil
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Staged reads what a cell has under the name of an Original, nil for nothing. The error is one for [Failed].
func (m *Mover) Staged(ctx context.Context, to string, original Original) (*Copy, error) {
	c, err := m.restoring(to, original)
	if err != nil {
		return nil, err
	}
	if found, err := c.read(ctx); !found || err != nil {
		return nil, err
	}
	return c, nil
}

func (m *Mover) restoring(to string, original Original) (*Copy, error) {
	source, err := parse(original.Body)
	if err != nil {
		return nil, fail(Refused, nil, "%v", err)
	}
	r := &run{Mover: m, unit: Unit{From: original.Cell, To: to}, to: m.Cells[to], newUIDs: map[types.UID]types.UID{}, shared: true}
	if r.to == nil {
		return nil, fail(Unavailable, nil, "cell %s is not connected", to)
	}
	if source.annotations == nil {
		source.annotations = map[string]string{}
	}
	source.annotations[v1alpha1.AnnotationPromotedFrom] = Origin(original.Cell, source.uid(), source.version())
	i := &item{source: source, Object: Object{
		Resource: original.Resource, Namespace: source.text("namespace"), Name: source.text("name"), UID: source.uid(), Owners: source.owners,
	}}
	r.unit.Objects, r.items = []Object{i.Object}, []*item{i}
	return &Copy{run: r, item: i}, nil
}

// read is false where there is nothing of that name.
func (c *Copy) read(ctx context.Context) (bool, error) {
	found, err := c.run.to.get(ctx, &c.item.Object)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, judge(&c.item.Object, c.run.to.Name, "read", err)
	}
	c.item.copy = found
	return true, nil
}

// Reveal makes the copy the object, unless somebody else has done so already, or it is gone.
func (c *Copy) Reveal(ctx context.Context) error {
	uid := c.UID()
	c.item.flipped = true // whatever the old cell has does not count any more
	for range tries {
		done, err := c.run.revealOnce(ctx, c.item)
		if done || err != nil {
			return err
		}
		if found, err := c.read(ctx); !found || err != nil || c.UID() != uid {
			return err
		}
	}
	return fail(Unavailable, &c.item.Object, "cell %s had another copy %d times", c.run.to.Name, tries)
}

// Remove takes the copy away, unless it has changed since it was read or made.
func (c *Copy) Remove(ctx context.Context) error {
	if c.Status() != v1alpha1.Incoming {
		return nil
	}
	return c.run.remove(ctx, c.run.to, c.item, c.item.copy)
}

// Delete deletes the object that the copy has become as its user had done in the old cell: what it owns goes with it,
// or stays, as he said there, and its finalizers are waited for.
func (c *Copy) Delete(ctx context.Context) error {
	policy := metav1.DeletePropagationBackground
	switch finalizers := string(c.item.source.meta["finalizers"]); {
	case strings.Contains(finalizers, `"`+metav1.FinalizerDeleteDependents+`"`):
		policy = metav1.DeletePropagationForeground
	case strings.Contains(finalizers, `"`+metav1.FinalizerOrphanDependents+`"`):
		policy = metav1.DeletePropagationOrphan
	}
	err := c.run.to.deleteBy(ctx, &c.item.Object, policy, metav1.Preconditions{UID: new(c.UID())})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return judge(&c.item.Object, c.run.to.Name, "delete", err)
}

// Failed says what an error of a Copy means for whoever waits.
func Failed(err error) Result {
	if f := (*failure)(nil); errors.As(err, &f) {
		return Result{Outcome: f.outcome, Object: f.object, Message: f.message, Err: f}
	}
	return Result{Outcome: Unavailable, Message: err.Error(), Err: err}
}

// Served is a resource as the cell serves it in one version, whichever it prefers. It is false where the cell did not
// when it was connected.
func (c *Cell) Served(group, version, kind string) (Resource, bool) {
	for _, r := range c.served {
		if r.Group == group && r.Version == version && r.Kind == kind {
			return r, true
		}
	}
	return Resource{}, false
}

// OwnerResource is the resource of an owner, in the version that the cell prefers.
func (c *Cell) OwnerResource(owner metav1.OwnerReference) (Resource, bool) {
	return c.kind(owner.APIVersion, owner.Kind)
}

// Look reads the metadata of an object, nil for nothing of that name. The error is one for [Failed].
func (c *Cell) Look(ctx context.Context, o Object) (*metav1.PartialObjectMetadata, error) {
	found, err := c.meta.Resource(o.Resource.GroupVersionResource).Namespace(o.Namespace).Get(ctx, o.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // absence is an answer
	case err != nil:
		return nil, judge(&o, c.Name, "read", fmt.Errorf("metadata: %w", err))
	}
	return found, nil
}
