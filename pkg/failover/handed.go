package failover

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// handedSlack is how much later than a tombstone the backup must have had everything to have had its object: the clocks of
// two machines differ, an object counts in its new cell a moment after its tombstone was made, and the backup is told of it a
// moment after that.
const handedSlack = 5 * time.Second

// Handed is an object that a cell has handed to the failing one, as the tombstone that it left says. No client wrote it
// there, so no router remembers it; where the backup has no copy yet, the tombstone is all that tells of it.
type Handed struct {
	Group, Resource, Namespace, Name string
	// Time is when it became a tombstone, in whole seconds.
	Time time.Time
}

// handedTo lists what a cell has handed to another one by moves that the ring still stands for.
func handedTo(ctx context.Context, ways *ways, from, to string, snap *routing.Snapshot) ([]Handed, error) {
	cell, err := ways.to(from)
	if err != nil {
		return nil, err
	}
	var out []Handed
	err = cell.InState(ctx, snap, v1alpha1.Migrated, func(o migration.Object, meta *metav1.PartialObjectMetadata) error {
		if meta.Annotations[v1alpha1.AnnotationMovesTo] != to {
			return nil
		}
		p, placed := snap.Table.LookupKey(meta.Annotations[v1alpha1.AnnotationUnit])
		if !placed || p.Old() != to && p.New() != to {
			return nil // it has moved on since
		}
		at, err := time.Parse(time.RFC3339, meta.Annotations[v1alpha1.AnnotationMigrationTime])
		if err != nil {
			return fmt.Errorf("tombstone of %s has no date: %w", o, err)
		}
		out = append(out, Handed{Group: o.Resource.Group, Resource: o.Resource.Resource, Namespace: o.Namespace, Name: o.Name, Time: at})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list what was moved to cell %s: %w", to, err)
	}
	return out, nil
}

// handed takes note of an object, unless the backup has had it: what has no copy then was deleted.
func (j *join) handed(h *Handed) {
	if j.f.reached(schema.GroupResource{Group: h.Group, Resource: h.Resource}).After(h.Time.Add(handedSlack)) {
		return
	}
	if o := j.object(h.Group, h.Resource, h.Namespace, h.Name); o.arrived.Before(h.Time) {
		o.arrived = h.Time
	}
}

// deleted says whether there is nothing to bring back and nothing to miss: nobody knows of a copy, and nobody of the
// object's coming, or of its deletion later than that.
func (o *object) deleted() bool {
	if len(o.copies) > 0 || len(o.others) > 0 || len(o.spoiled) > 0 {
		return false
	}
	if o.arrived.IsZero() {
		return true
	}
	for _, w := range o.writes {
		if w.Gone && !w.Time.Before(o.arrived) {
			return true
		}
	}
	return false
}
