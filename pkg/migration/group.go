package migration

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// route is a way between two cells, and the key that is on it.
type route struct{ key, to string }

// found is a unit as it grows. Where owners join two, one of them points to the other.
type found struct {
	Unit
	joined *found
	// stray says that the snapshot would not move it.
	stray bool
	// tombstones have moved already; worth is whether there is something to do for what else is in the unit.
	worth bool
}

func (f *found) root() *found {
	for f.joined != nil {
		f = f.joined
	}
	return f
}

// finder goes through one cell, in one goroutine.
type finder struct {
	cell   *Cell
	snap   *routing.Snapshot
	choice Choice                // nil for all
	copies map[position]Leftover // read only
	// explained are those of the copies that have an object here.
	explained map[position]bool
	units     map[route]*found
	// homes are the units of the objects, by their UIDs.
	homes map[types.UID]*found
	// owned are the sharded objects that have owners, and whose units may be joined with theirs.
	owned map[types.UID][]metav1.OwnerReference
	// arrived are the sharded objects here that count, of keys that move to this cell.
	arrived map[position]bool
}

func newFinder(cell *Cell, snap *routing.Snapshot, copies map[position]Leftover) *finder {
	return &finder{
		cell: cell, snap: snap, copies: copies, explained: map[position]bool{}, units: map[route]*found{},
		homes: map[types.UID]*found{}, owned: map[types.UID][]metav1.OwnerReference{}, arrived: map[position]bool{},
	}
}

func (f *finder) find(ctx context.Context) error {
	for _, resource := range f.cell.Resources(f.snap, placement.Sharded) {
		_, rule := f.snap.Classes.Of(resource.Group, resource.Resource, "")
		err := f.cell.eachObject(ctx, resource, "", func(o Object, meta *metav1.PartialObjectMetadata) error {
			f.sharded(o, meta, rule)
			return nil
		})
		if err != nil {
			return err
		}
	}
	f.join()
	return f.dependents(ctx)
}

// dependents finds what hangs from the units. Dependents of dependents may come before their owners, so that each pass
// finds one generation at least. Without any unit there are none to be found, but for those that an undo has left marked when it
// was cut off: it opens their owners before.
func (f *finder) dependents(ctx context.Context) error {
	if len(f.homes) == 0 {
		if _, err := f.dependentsBy(ctx, v1alpha1.LabelRebalanceStatus); err != nil {
			return err
		}
	}
	for again := len(f.homes) > 0; again; {
		var err error
		if again, err = f.dependentsBy(ctx, ""); err != nil {
			return err
		}
	}
	return nil
}

// dependentsBy goes through those that a label selector selects, once, and says whether any was new.
func (f *finder) dependentsBy(ctx context.Context, selector string) (news bool, err error) {
	for _, resource := range f.cell.Resources(f.snap, placement.Dependent) {
		err := f.cell.eachObject(ctx, resource, selector, func(o Object, meta *metav1.PartialObjectMetadata) error {
			news = f.dependent(o, meta) || news
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	return news, nil
}

// sharded takes an object that moves by its key, or that was marked.
func (f *finder) sharded(o Object, meta *metav1.PartialObjectMetadata, rule placement.KeyRule) {
	if o.Status == v1alpha1.Incoming {
		return
	}
	key := rule.Key(o.Namespace, o.Name)
	p, placed := f.snap.Table.LookupKey(key)
	moves := placed && p.Moves() && p.Old() == f.cell.Name
	if placed && p.Moves() && p.New() == f.cell.Name && o.Status != v1alpha1.Migrated {
		f.arrived[o.at(f.cell.Name)] = true
	}
	switch {
	case moves:
		f.add(route{key, p.New()}, o, meta, false)
		if len(o.Owners) > 0 {
			f.owned[o.UID] = o.Owners
		}
	case o.Status != "":
		f.marked(o, meta)
	}
}

// marked takes an object that moves by its mark alone.
func (f *finder) marked(o Object, meta *metav1.PartialObjectMetadata) {
	key, to := meta.Annotations[v1alpha1.AnnotationUnit], meta.Annotations[v1alpha1.AnnotationMovesTo]
	if key == "" || to == "" || to == f.cell.Name {
		return
	}
	p, placed := f.snap.Table.LookupKey(key)
	f.add(route{key, to}, o, meta, !placed || p.Old() != f.cell.Name || p.New() != to)
}

func (f *finder) add(at route, o Object, meta *metav1.PartialObjectMetadata, stray bool) {
	if f.homes[o.UID] != nil {
		return // a list that went on at a newer version
	}
	unit := f.units[at]
	if unit == nil {
		unit = &found{Unit: Unit{Key: at.key, From: f.cell.Name, To: at.to}, stray: stray}
		f.units[at] = unit
	}
	f.put(unit, o, meta)
}

func (f *finder) put(unit *found, o Object, meta *metav1.PartialObjectMetadata) {
	unit = unit.root()
	unit.Chosen = unit.Chosen || f.choice == nil || f.choice(meta.Namespace, meta.Labels)
	f.homes[o.UID] = unit
	twin, found := f.copies[o.at(unit.To)]
	found = found && twin.From == f.cell.Name // that of another move is none of this object's
	if found {
		f.explained[o.at(unit.To)] = true
	}
	o.Arrived = o.Status == v1alpha1.Migrated && !found
	unit.Objects = append(unit.Objects, o)
	// What hangs from the tombstone of a stray and has no mark is where it has to be.
	unit.worth = unit.worth || found || o.Status == v1alpha1.Migrating || o.Status == "" && !unit.stray
}

// join makes one unit of those that go the same way and own each other's objects. A stray does not go: what it owns finds its
// owner in the new cell, where that has moved, and waits for it where it has not.
func (f *finder) join() {
	for uid, owners := range f.owned {
		for _, owner := range owners {
			a, b := f.homes[uid].root(), f.homes[owner.UID]
			if b == nil || b.root() == a || b.root().To != a.To || b.root().stray != a.stray {
				continue
			}
			b = b.root()
			if b.Key < a.Key {
				a, b = b, a
			}
			a.Objects = append(a.Objects, b.Objects...)
			a.worth, a.Chosen = a.worth || b.worth, a.Chosen || b.Chosen
			b.Objects, b.joined = nil, a
		}
	}
}

// dependent takes an object whose owner moves, and says whether it was new.
func (f *finder) dependent(o Object, meta *metav1.PartialObjectMetadata) bool {
	if o.Status == v1alpha1.Incoming || f.homes[o.UID] != nil {
		return false
	}
	if o.Status == v1alpha1.Migrated { // its owners were taken off
		f.marked(o, meta)
		return f.homes[o.UID] != nil
	}
	owner := slices.IndexFunc(o.Owners, func(r metav1.OwnerReference) bool {
		return f.homes[r.UID] != nil && r.Controller != nil && *r.Controller
	})
	if owner < 0 {
		owner = slices.IndexFunc(o.Owners, func(r metav1.OwnerReference) bool { return f.homes[r.UID] != nil })
	}
	if owner < 0 {
		if o.Status == v1alpha1.Migrating {
			f.marked(o, meta)
		}
		return f.homes[o.UID] != nil
	}
	f.put(f.homes[o.Owners[owner].UID], o, meta)
	return true
}

// collect adds what was found.
func (f *finder) collect(into *Found) {
	for _, unit := range f.units {
		switch {
		case unit.joined != nil || !unit.worth:
		case unit.stray:
			into.Strays = append(into.Strays, unit.Unit)
		default:
			into.Units = append(into.Units, unit.Unit)
		}
	}
}
