package migration

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// pageSize is how many objects' metadata one request asks for.
const pageSize = 500

// Found is what there is to do between all cells.
type Found struct {
	// Units have to move. Those that an earlier run began with come first, then by key.
	Units []Unit
	// Strays were marked by an earlier run, and need not move by this snapshot: Undo makes them
	// writable again. One that answers [ErrFlipped] has to be moved on.
	Strays []Unit
	// Leftovers are incoming copies that no object of an old cell explains.
	Leftovers []Leftover
}

// Leftover is an incoming copy by itself. It does not show, and a create removes it.
type Leftover struct {
	Cell string
	// From is the old cell that the copy names.
	From   string
	Object Object
}

// Units finds what moves by a snapshot. It reads the metadata of all sharded and dependent objects in
// the cells of the current ring, a page at a time, and keeps what moves; dependents are read once more
// for each generation of them. An object that is changed meanwhile may be found as it was.
//
// A cell that does not answer is an error: what it has cannot be left behind.
func Units(ctx context.Context, cells map[string]*Cell, snap *routing.Snapshot) (*Found, error) {
	return Choose(ctx, cells, snap, nil)
}

// Choose finds the same units, and says of each whether it was chosen; nil chooses all.
func Choose(ctx context.Context, cells map[string]*Cell, snap *routing.Snapshot, choice Choice) (*Found, error) {
	for _, name := range snap.Table.Cells() {
		if cells[name] == nil {
			return nil, fmt.Errorf("find units: cell %s is not connected", name)
		}
	}
	return find(ctx, cells, snap, choice)
}

// Begun finds the units that an earlier run has begun with in some cells of the ring, and the copies that it has left between
// them, whatever the others have. What is half moved to one of the others is not among them.
func Begun(ctx context.Context, cells map[string]*Cell, snap *routing.Snapshot) ([]Unit, []Leftover, error) {
	found, err := find(ctx, cells, snap, nil)
	if err != nil {
		return nil, nil, err
	}
	// What is in a cell that was not read may explain its copies.
	leftovers := slices.DeleteFunc(found.Leftovers, func(l Leftover) bool { return cells[l.From] == nil })
	return found.Begun(), leftovers, nil
}

// Begun are the units that an earlier run has begun with.
func (f *Found) Begun() []Unit {
	return slices.DeleteFunc(slices.Concat(f.Strays, f.Units), func(unit Unit) bool { return !unit.Marked() })
}

// find looks through those of the cells that are in the ring.
func find(ctx context.Context, cells map[string]*Cell, snap *routing.Snapshot, choice Choice) (*Found, error) {
	copies, err := incoming(ctx, cells, snap)
	if err != nil {
		return nil, err
	}
	found := &Found{}
	finders := make([]*finder, 0, len(cells))
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range snap.Table.Cells() {
		if cells[name] == nil {
			continue
		}
		f := newFinder(cells[name], snap, copies)
		f.choice = choice
		finders = append(finders, f)
		group.Go(func() error { return f.find(ctx) })
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("find units: %w", err)
	}
	for _, f := range finders {
		f.collect(found)
	}
	found.meet(finders)
	for where, leftover := range copies {
		if !slices.ContainsFunc(finders, func(f *finder) bool { return f.explained[where] }) {
			found.Leftovers = append(found.Leftovers, leftover)
		}
	}
	found.sort()
	return found, nil
}

func (f *Found) sort() {
	for _, units := range [][]Unit{f.Units, f.Strays} {
		slices.SortFunc(units, func(a, b Unit) int {
			if a.Marked() != b.Marked() {
				if a.Marked() {
					return -1
				}
				return 1
			}
			return strings.Compare(a.Key, b.Key)
		})
	}
	slices.SortFunc(f.Leftovers, func(a, b Leftover) int {
		return strings.Compare(a.Cell+" "+a.Object.String(), b.Cell+" "+b.Object.String())
	})
}

// meet finds the objects that have not moved and meet another one of their name in their new cell.
func (f *Found) meet(finders []*finder) {
	for _, unit := range f.Units {
		there := slices.IndexFunc(finders, func(f *finder) bool { return f.cell.Name == unit.To })
		if there < 0 {
			continue
		}
		for n := range unit.Objects {
			o := &unit.Objects[n]
			o.Taken = o.Status != v1alpha1.Migrated && finders[there].arrived[o.at(unit.To)]
		}
	}
}

// position is where an object is, whatever its version.
type position struct {
	cell            string
	resource        schema.GroupResource
	namespace, name string
}

func (o *Object) at(cell string) position {
	return position{cell, o.Resource.GroupResource(), o.Namespace, o.Name}
}

// incoming are the copies in all cells that do not count yet. There are no more than a run has in hand.
func incoming(ctx context.Context, cells map[string]*Cell, snap *routing.Snapshot) (map[position]Leftover, error) {
	perCell := make([][]Leftover, len(cells))
	group, ctx := errgroup.WithContext(ctx)
	n := 0
	for _, cell := range cells {
		out := &perCell[n]
		n++
		group.Go(func() error {
			return cell.InState(ctx, snap, v1alpha1.Incoming, func(o Object, meta *metav1.PartialObjectMetadata) error {
				*out = append(*out, Leftover{Cell: cell.Name, From: meta.Annotations[v1alpha1.AnnotationFromCell], Object: o})
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("find incoming copies: %w", err)
	}
	out := map[position]Leftover{}
	for _, l := range slices.Concat(perCell...) {
		out[l.Object.at(l.Cell)] = l
	}
	return out, nil
}

// InState visits the sharded and dependent objects in one state of migration.
func (c *Cell) InState(ctx context.Context, snap *routing.Snapshot, status v1alpha1.RebalanceStatus,
	visit func(Object, *metav1.PartialObjectMetadata) error,
) error {
	selector := v1alpha1.LabelRebalanceStatus + "=" + string(status)
	for _, class := range []placement.Class{placement.Sharded, placement.Dependent} {
		for _, resource := range c.Resources(snap, class) {
			if err := c.eachObject(ctx, resource, selector, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// Resources are those of a class that the cell serves, in the version that it prefers.
func (c *Cell) Resources(snap *routing.Snapshot, class placement.Class) []Resource {
	var out []Resource
	for _, r := range c.resources {
		if of, _ := snap.Classes.Of(r.Group, r.Resource, ""); of == class {
			r.Class = class
			out = append(out, r)
		}
	}
	return out
}

// eachObject visits the metadata of the objects of a resource that are not the system's, a page at a time.
func (c *Cell) eachObject(ctx context.Context, resource Resource, selector string,
	visit func(Object, *metav1.PartialObjectMetadata) error,
) error {
	pages := c.Pages(resource, metav1.NamespaceAll, selector, pageSize)
	for {
		page, err := pages.Next(ctx)
		if err != nil || page == nil {
			return err
		}
		for n := range page {
			if err := visit(objectOf(resource, &page[n]), &page[n]); err != nil {
				return err
			}
		}
	}
}

func objectOf(resource Resource, meta *metav1.PartialObjectMetadata) Object {
	return Object{
		Resource: resource, Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID,
		ResourceVersion: meta.ResourceVersion, Deleting: meta.DeletionTimestamp != nil, Owners: meta.OwnerReferences,
		Status: v1alpha1.RebalanceStatus(meta.Labels[v1alpha1.LabelRebalanceStatus]),
	}
}
