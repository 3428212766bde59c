package migration_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// snapshot has two resources of class Dependent, axles and bolts.
func snapshot(t testing.TB, current, target []string, rules ...v1alpha1.ResourceRule) *routing.Snapshot {
	t.Helper()
	layout := func(cells []string) *v1alpha1.RingLayout {
		l := &v1alpha1.RingLayout{PointsPerWeight: 10, Resources: append(rules,
			v1alpha1.ResourceRule{Group: "test.example.com", Resource: "axles", Class: "Dependent"},
			v1alpha1.ResourceRule{Group: "test.example.com", Resource: "bolts", Class: "Dependent"})}
		for _, cell := range cells {
			l.Members = append(l.Members, v1alpha1.RingMember{Cell: cell, Weight: 100})
		}
		return l
	}
	snap, err := routing.FromRing(&v1alpha1.Ring{Status: v1alpha1.RingStatus{Epoch: 7, Current: layout(current), Target: layout(target)}})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// units are those in this test's namespace.
func (b *bed) units(snap *routing.Snapshot) *migration.Found {
	b.t.Helper()
	all, err := migration.Units(b.t.Context(), b.cells, snap)
	if err != nil {
		b.t.Fatal(err)
	}
	mine := func(units []migration.Unit) []migration.Unit {
		return slices.DeleteFunc(units, func(u migration.Unit) bool {
			return !slices.ContainsFunc(u.Objects, func(o migration.Object) bool { return o.Namespace == b.namespace })
		})
	}
	all.Units, all.Strays = mine(all.Units), mine(all.Strays)
	all.Leftovers = slices.DeleteFunc(all.Leftovers, func(l migration.Leftover) bool { return l.Object.Namespace != b.namespace })
	return all
}

// names are units as text: key, way, and what is in it.
func (b *bed) names(units []migration.Unit) []string {
	var out []string
	for _, u := range units {
		var objects []string
		for _, o := range u.Objects {
			objects = append(objects, strings.TrimSpace(o.Resource.Resource+" "+o.Name+" "+string(o.Status)))
		}
		slices.Sort(objects)
		out = append(out, strings.ReplaceAll(fmt.Sprintf("%s %s>%s: %s", u.Key, u.From, u.To, strings.Join(objects, ", ")), b.namespace, "ns"))
	}
	return out
}

// TestUnits groups by key and by owners.
func TestUnits(t *testing.T) {
	b := newBed(t)
	axles, bolts := b.define(t, "axles", ""), b.define(t, "bolts", "")
	b.connect()
	root := b.make(b.old, deployments, `{metadata: {name: a}, spec: {selector: {matchLabels: {app: x}}, template: `+podTemplate+`}}`)
	b.make(b.old, configMaps, `metadata: {name: a}`)
	bolt := b.make(b.old, bolts, `{metadata: {name: bolt`+owners(deployments, root)+`}, spec: {size: 3}}`)
	axle := b.make(b.old, axles, `{metadata: {name: axle`+owners(bolts, bolt)+`}, spec: {size: 3}}`)
	b.make(b.old, bolts, `{metadata: {name: aaa`+owners(axles, axle)+`}, spec: {size: 3}}`) // always met before its owner
	b.make(b.old, configMaps, `metadata: {name: b`+owners(deployments, root)+`}`)           // a key of its own
	b.make(b.old, secrets, `metadata: {name: b}`)
	b.make(b.old, secrets, `metadata: {name: c}`)
	b.make(b.new, secrets, `metadata: {name: misplaced}`)

	found := b.units(snapshot(t, []string{"old"}, []string{"new"}))
	want := []string{
		"ns/a old>new: axles axle, bolts aaa, bolts bolt, configmaps a, configmaps b, deployments a, secrets b",
		"ns/c old>new: secrets c",
	}
	if diff := cmp.Diff(want, b.names(found.Units)); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
	if len(found.Strays)+len(found.Leftovers) > 0 {
		t.Errorf("strays %v, leftovers %v", found.Strays, found.Leftovers)
	}
	byName := v1alpha1.ResourceRule{Resource: "secrets", Class: "Sharded", Key: "Namespace"}
	found = b.units(snapshot(t, []string{"old"}, []string{"new"}, byName))
	want = []string{
		"ns old>new: secrets b, secrets c",
		"ns/a old>new: axles axle, bolts aaa, bolts bolt, configmaps a, configmaps b, deployments a",
	}
	if diff := cmp.Diff(want, b.names(found.Units)); diff != "" {
		t.Errorf("units by another rule (-want +got):\n%s", diff)
	}
	if found = b.units(snapshot(t, []string{"old"}, []string{"old"})); len(found.Units) > 0 {
		t.Errorf("nothing moves, and found %v", b.names(found.Units))
	}
}

// TestUnitsAreWhatTheRingMoves, no more and no less.
func TestUnitsAreWhatTheRingMoves(t *testing.T) {
	b := newBed(t)
	snap := snapshot(t, []string{"old"}, []string{"old", "new"})
	var want []string
	for n := range 60 {
		name := fmt.Sprintf("c%d", n)
		b.make(b.old, configMaps, `metadata: {name: `+name+`}`)
		if p, _ := snap.Table.LookupKey(b.namespace + "/" + name); p.Moves() {
			want = append(want, "ns/"+name+" old>new: configmaps "+name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, b.names(b.units(snap).Units)); diff != "" || len(want) == 0 || len(want) == 60 {
		t.Errorf("units (-want +got):\n%s", diff)
	}
}

// TestAUnitIsChosenByAnyOfItsObjects, whichever that is.
func TestAUnitIsChosenByAnyOfItsObjects(t *testing.T) {
	b := newBed(t)
	bolts := b.define(t, "bolts", "")
	b.connect()
	root := b.make(b.old, deployments, `{metadata: {name: a}, spec: {selector: {matchLabels: {app: x}}, template: `+podTemplate+`}}`)
	b.make(b.old, bolts, `{metadata: {name: bolt, labels: {in: bolt}`+owners(deployments, root)+`}, spec: {size: 3}}`)
	b.make(b.old, configMaps, `{metadata: {name: b, labels: {in: b}`+owners(deployments, root)+`}}`)
	b.make(b.old, secrets, `{metadata: {name: c, labels: {in: c}}}`)
	for in, want := range map[string][]string{"bolt": {"ns/a"}, "b": {"ns/a"}, "c": {"ns/c"}, "none": nil} {
		found, err := migration.Choose(t.Context(), b.cells, snapshot(t, []string{"old"}, []string{"new"}), func(namespace string, labels map[string]string) bool {
			return namespace == b.namespace && labels["in"] == in
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, unit := range found.Units {
			if unit.Chosen {
				got = append(got, strings.ReplaceAll(unit.Key, b.namespace, "ns"))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("chosen by the label of %s (-want +got):\n%s", in, diff)
		}
	}
}

// TestAKilledMoveIsFoundAgain, first of all, wherever it ended, with its dependents.
func TestAKilledMoveIsFoundAgain(t *testing.T) {
	b := newBed(t)
	axles, bolts := b.define(t, "axles", ""), b.define(t, "bolts", "")
	b.connect()
	snap := snapshot(t, []string{"old"}, []string{"new"})
	b.make(b.old, secrets, `metadata: {name: aa}`)
	for n := 1; ; n++ {
		name := fmt.Sprintf("w%d", n)
		root := b.make(b.old, deployments, `{metadata: {name: `+name+`}, spec: {selector: {matchLabels: {app: x}}, template: `+podTemplate+`}}`)
		bolt := b.make(b.old, bolts, `{metadata: {name: `+name+owners(deployments, root)+`}, spec: {size: 3}}`)
		b.make(b.old, axles, `{metadata: {name: `+name+owners(bolts, bolt)+`}, spec: {size: 3}}`)
		find := func() (migration.Unit, bool) {
			units := b.units(snap).Units
			at := slices.IndexFunc(units, func(u migration.Unit) bool { return u.Key == b.namespace+"/"+name })
			if at < 0 {
				return migration.Unit{}, false
			}
			if units[at].Marked() && at > 0 {
				t.Errorf("begun with, and %d before it", at)
			}
			return units[at], true
		}
		unit, _ := find()
		mover := b.barred()
		step, killed := killAfter(mover, n, func(ctx context.Context) { mover.Move(ctx, unit) })
		if again, left := find(); left {
			b.move(again, migration.Moved)
		} else if step != migration.Revealed && killed {
			t.Errorf("killed after step %d, %s, and not found", n, step)
		}
		for _, k := range []kind{deployments, bolts, axles} {
			obj := b.get(b.new, k, name)
			if obj == nil || b.found(k, obj).Status != "" {
				t.Fatalf("killed after step %d, %s: %s in the new cell: %v", n, step, k.Kind, obj)
			}
			if tomb := b.get(b.old, k, name); tomb == nil || b.found(k, tomb).Status != v1alpha1.Migrated {
				t.Fatalf("killed after step %d, %s: %s in the old cell: %v", n, step, k.Kind, tomb)
			}
		}
		if found := b.units(snap); len(found.Strays)+len(found.Leftovers) > 0 || len(found.Units) != 1 {
			t.Fatalf("killed after step %d, %s: left %v %v %v", n, step, b.names(found.Units), found.Strays, found.Leftovers)
		}
		if !killed {
			break
		}
	}
}

// TestWhatNoRunWants: marks that the ring does not ask for any more, and copies without an original.
func TestWhatNoRunWants(t *testing.T) {
	b := newBed(t)
	before := b.make(b.old, configMaps, `metadata: {name: a}`)
	mover := b.barred()
	killAfter(mover, 3, func(ctx context.Context) { mover.Move(ctx, b.unit(b.found(configMaps, before))) })
	b.make(b.new, secrets, `metadata: {name: l, labels: {`+v1alpha1.LabelRebalanceStatus+`: incoming}, annotations: {`+v1alpha1.AnnotationFromCell+`: old}, finalizers: [example.com/hold]}`)

	snap := snapshot(t, []string{"old"}, []string{"old"})
	found := b.units(snap)
	if got := b.names(found.Strays); len(got) != 1 || got[0] != "ns/a old>new: configmaps a migrating" || len(found.Units) > 0 {
		t.Fatalf("strays %v, units %v", got, b.names(found.Units))
	}
	if len(found.Leftovers) != 1 || found.Leftovers[0].Object.Name != "l" || found.Leftovers[0].From != "old" {
		t.Fatalf("leftovers %v", found.Leftovers)
	}
	for range 2 {
		if err := migration.Discard(t.Context(), b.cells, found.Leftovers[0]); err != nil {
			t.Fatal(err)
		}
		b.awaitAbsent(b.new, secrets, "l")
		if err := b.mover().Undo(t.Context(), found.Strays[0]); err != nil {
			t.Fatal(err)
		}
		b.untouched(configMaps, before)
	}
}

// TestAMoveToACellThatLeftTheRingIsTakenBack without it, wherever it ended: what has no tombstone is as it was, tombstones
// stay, and there is nothing to do then.
func TestAMoveToACellThatLeftTheRingIsTakenBack(t *testing.T) {
	b := newBed(t)
	bolts := b.define(t, "bolts", "")
	b.connect()
	moving, alone := snapshot(t, []string{"old"}, []string{"new"}), snapshot(t, []string{"old"}, []string{"old"})
	all := b.cells
	for n := 1; ; n++ {
		name := fmt.Sprintf("w%d", n)
		root := b.make(b.old, deployments, `{metadata: {name: `+name+`}, spec: {selector: {matchLabels: {app: x}}, template: `+podTemplate+`}}`)
		before := map[kind]*unstructured.Unstructured{
			deployments: root, bolts: b.make(b.old, bolts, `{metadata: {name: `+name+owners(deployments, root)+`}, spec: {size: 3}}`),
			configMaps: b.make(b.old, configMaps, `metadata: {name: `+name+`}`),
		}
		unit := b.theUnit(name)
		if len(unit.Objects) != len(before) {
			t.Fatalf("the unit is %v", b.names(b.units(moving).Units))
		}
		killing := b.barred()
		step, killed := killAfter(killing, n, func(ctx context.Context) { killing.Move(ctx, unit) })
		tombs := map[kind]string{}
		for k := range before {
			if o := b.get(b.old, k, name); b.found(k, o).Status == v1alpha1.Migrated {
				tombs[k] = o.GetResourceVersion()
			}
		}

		b.cells = map[string]*migration.Cell{"old": all["old"]}
		mover := b.mover()
		mover.Left = func(cell string) bool { return cell == "new" }
		found := b.units(alone)
		if len(found.Units) > 0 || len(found.Strays) != 1 && len(tombs) < len(before) {
			t.Errorf("killed after step %d, %s: units %v, strays %v", n, step, b.names(found.Units), b.names(found.Strays))
		}
		for range 2 {
			for _, stray := range found.Strays {
				if err := mover.Undo(t.Context(), stray); err != nil {
					t.Errorf("killed after step %d, %s: %v", n, step, err)
				}
			}
		}
		for k, was := range before {
			now := b.get(b.old, k, name)
			if version, flipped := tombs[k]; flipped && now.GetResourceVersion() != version {
				t.Errorf("killed after step %d, %s: the tombstone of %s was written: %v", n, step, k.Kind, now.Object["metadata"])
			} else if diff := same(was, now); !flipped && diff != "" {
				t.Errorf("killed after step %d, %s: %s (-before +after):\n%s", n, step, k.Kind, diff)
			}
		}
		if left := b.units(alone); len(left.Strays)+len(left.Units) > 0 {
			t.Errorf("killed after step %d, %s: there is still to do %v %v", n, step, b.names(left.Strays), b.names(left.Units))
		}
		if b.cells = all; !killed || t.Failed() {
			break
		}
	}
}

// TestADependentThatAnUndoLeftMarkedIsFound, though nothing else in its cell has a mark: an undo opens owners before.
func TestADependentThatAnUndoLeftMarkedIsFound(t *testing.T) {
	b := newBed(t)
	bolts := b.define(t, "bolts", "")
	b.connect()
	alone := snapshot(t, []string{"old"}, []string{"old"})
	b.unmarkAll(alone)
	root := b.make(b.old, deployments, `{metadata: {name: w}, spec: {selector: {matchLabels: {app: x}}, template: `+podTemplate+`}}`)
	bolt := b.make(b.old, bolts, `{metadata: {name: w`+owners(deployments, root)+`}, spec: {size: 3}}`)
	unit := b.theUnit("w")
	kill := func(at migration.StepName, do func(*migration.Mover) func(context.Context)) {
		mover := b.barred()
		if !killWhen(mover, func(s migration.StepName) bool { return s == at }, do(mover)) {
			t.Fatalf("there was no step %s", at)
		}
	}
	kill(migration.Barred, func(m *migration.Mover) func(context.Context) {
		return func(ctx context.Context) { m.Move(ctx, unit) }
	})
	kill(migration.Unmarked, func(m *migration.Mover) func(context.Context) {
		return func(ctx context.Context) {
			if err := m.Undo(ctx, unit); err == nil {
				t.Error("the undo was not cut off")
			}
		}
	})
	found := b.units(alone)
	if got := b.names(found.Strays); len(got) != 1 || got[0] != "ns/w old>new: bolts w migrating" {
		t.Fatalf("strays %v; want what is still marked", got)
	}
	if err := b.mover().Undo(t.Context(), found.Strays[0]); err != nil {
		t.Fatal(err)
	}
	b.untouched(deployments, root)
	b.untouched(bolts, bolt)
}

// unmarkAll takes the labels off the sharded objects in the old cell, those of other tests among them.
func (b *bed) unmarkAll(snap *routing.Snapshot) {
	b.t.Helper()
	for _, resource := range b.cells["old"].Resources(snap, placement.Sharded) {
		objects := b.old.dynamic.Resource(resource.GroupVersionResource)
		list, err := objects.List(b.t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.LabelRebalanceStatus})
		if err != nil {
			b.t.Fatal(err)
		}
		for _, o := range list.Items {
			_, err := objects.Namespace(o.GetNamespace()).Patch(b.t.Context(), o.GetName(), types.MergePatchType,
				[]byte(`{"metadata":{"labels":{"`+v1alpha1.LabelRebalanceStatus+`":null}}}`), metav1.PatchOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				b.t.Fatal(err)
			}
		}
	}
}

// TestACopyOfAnotherMoveIsALeftover where the tombstone of an earlier one names the cell that it is in.
func TestACopyOfAnotherMoveIsALeftover(t *testing.T) {
	b := newBed(t)
	label := `{metadata: {name: a, labels: {` + v1alpha1.LabelRebalanceStatus + `: `
	b.make(b.old, configMaps, label+`migrated}, annotations: {`+v1alpha1.AnnotationUnit+`: `+b.namespace+`/a, `+v1alpha1.AnnotationMovesTo+`: new}}}`)
	b.make(b.new, configMaps, label+`incoming}, annotations: {`+v1alpha1.AnnotationFromCell+`: third}}}`)
	for name, snap := range map[string]*routing.Snapshot{
		"the key stays": snapshot(t, []string{"old"}, []string{"old"}), "it moves there": snapshot(t, []string{"old"}, []string{"new"}),
	} {
		found := b.units(snap)
		if len(found.Strays)+len(found.Units) > 0 {
			t.Errorf("%s: strays %v, units %v; want none", name, b.names(found.Strays), b.names(found.Units))
		}
		if len(found.Leftovers) != 1 || found.Leftovers[0].From != "third" || found.Leftovers[0].Cell != "new" {
			t.Errorf("%s: leftovers %v; want the copy", name, found.Leftovers)
		}
	}
}

// TestWhatMovesIsNotHeldByAStrayThatOwnsIt has an object move whose owner has moved there in an earlier run.
func TestWhatMovesIsNotHeldByAStrayThatOwnsIt(t *testing.T) {
	b := newBed(t)
	snap := snapshot(t, []string{"old"}, []string{"old", "new"})
	name := func(prefix string, moves bool) string {
		for n := 0; ; n++ {
			name := fmt.Sprintf("%s%d", prefix, n)
			if p, _ := snap.Table.LookupKey(b.namespace + "/" + name); p.Moves() == moves {
				return name
			}
		}
	}
	for _, owner := range []string{name("a", false), name("z", false)} { // the unit has the first of two keys
		root := b.make(b.old, configMaps, `metadata: {name: `+owner+`}`)
		b.move(b.unit(b.found(configMaps, root)), migration.Moved)
		owned := name("m"+owner, true)
		b.make(b.old, secrets, `metadata: {name: `+owned+owners(configMaps, root)+`}`)
		found := b.units(snap)
		if len(found.Strays) > 0 || len(found.Units) != 1 || found.Units[0].Key != b.namespace+"/"+owned {
			t.Errorf("owned by %s: units %v, strays %v; want the secret to move", owner, b.names(found.Units), b.names(found.Strays))
			continue
		}
		b.move(found.Units[0], migration.Moved)
	}
}

// TestTheCopyOfWhatVanishedStays for somebody to look at: its tombstone may have been deleted by hand.
func TestTheCopyOfWhatVanishedStays(t *testing.T) {
	b := newBed(t)
	unit := b.unit(b.found(configMaps, b.make(b.old, configMaps, `metadata: {name: a}`)))
	mover := b.barred()
	killAfter(mover, 5, func(ctx context.Context) { mover.Move(ctx, unit) }) // flipped, not revealed
	if err := b.in(b.old, configMaps).Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.move(unit, migration.Gone)
	if err := b.mover().Undo(t.Context(), unit); err != nil {
		t.Error(err)
	}
	found := b.units(snapshot(t, []string{"old"}, []string{"new"}))
	if len(found.Leftovers) != 1 || len(found.Units)+len(found.Strays) > 0 {
		t.Errorf("found %+v", found)
	}
	if obj := b.get(b.new, configMaps, "a"); obj == nil || obj.GetDeletionTimestamp() != nil {
		t.Errorf("the copy: %v", obj)
	}
}

// TestRetract removes the copy of an object that was deleted before it was flipped, and nothing that is not a copy.
func TestRetract(t *testing.T) {
	b := newBed(t)
	unit := b.unit(b.found(configMaps, b.make(b.old, configMaps, `metadata: {name: a}`)))
	mover := b.barred()
	killAfter(mover, 3, func(ctx context.Context) { mover.Move(ctx, unit) }) // created
	if err := b.in(b.old, configMaps).Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := b.mover().Undo(t.Context(), unit); err != nil || b.get(b.new, configMaps, "a") == nil {
		t.Fatalf("undo cannot know that nothing was flipped: error %v", err)
	}
	for range 2 {
		if err := b.mover().Retract(t.Context(), unit); err != nil {
			t.Fatal(err)
		}
		b.awaitAbsent(b.new, configMaps, "a")
	}
	b.make(b.new, configMaps, `metadata: {name: a}`)
	if err := b.mover().Retract(t.Context(), unit); err != nil || b.get(b.new, configMaps, "a") == nil {
		t.Errorf("an object that is no copy was removed, error %v", err)
	}
}

// TestBury deletes what is old enough, and tears nothing down.
func TestBury(t *testing.T) {
	b := newBed(t)
	snap := snapshot(t, []string{"old"}, []string{"new"})
	f := newFamily(b, "a")
	root := b.get(b.old, deployments, "a")
	replicaSets := sharded("apps", "v1", "replicasets", "ReplicaSet", true)
	b.make(b.old, replicaSets, `{metadata: {name: a`+owners(deployments, root)+`}, spec: {selector: {matchLabels: {app: x}}, template: `+podTemplate+`}}`)
	b.move(f.unit(), migration.Moved)
	// Another unit was killed before its copy was revealed.
	half := b.make(b.old, configMaps, `metadata: {name: half}`)
	mover := b.mover()
	killAfter(mover, 4, func(ctx context.Context) { mover.Move(ctx, b.unit(b.found(configMaps, half))) })

	now := clocktesting.NewFakePassiveClock(time.Now())
	bury := func() {
		t.Helper()
		if _, err := migration.Bury(t.Context(), b.cells, "old", snap, func(string) time.Duration { return time.Hour }, now); err != nil {
			t.Fatal(err)
		}
	}
	bury()
	f.arrived() // the tombstones, too
	now.SetTime(time.Now().Add(2 * time.Hour))
	bury()
	bury()
	for _, k := range f.kinds {
		b.awaitAbsent(b.old, k, "a")
		if b.get(b.new, k, "a") == nil {
			t.Errorf("%s is gone from the new cell", k.Kind)
		}
	}
	if rs := b.get(b.old, replicaSets, "a"); rs == nil || rs.GetDeletionTimestamp() != nil {
		t.Errorf("torn down: %v", rs)
	}
	if tomb := b.get(b.old, configMaps, "half"); tomb == nil || tomb.GetDeletionTimestamp() != nil {
		t.Errorf("the tombstone of an incoming copy is gone: %v", tomb)
	}
	b.move(b.unit(b.found(configMaps, half)), migration.Moved)
	b.move(b.unit(b.found(configMaps, b.get(b.old, configMaps, "half"))), migration.Moved)
	bury()
	b.awaitAbsent(b.old, configMaps, "half")
}

// TestANamespaceWithTombstonesGoes: nothing in them holds it up.
func TestANamespaceWithTombstonesGoes(t *testing.T) {
	b := newBed(t)
	b.move(newFamily(b, "a").unit(), migration.Moved)
	client := b.old.kube.CoreV1().Namespaces()
	w, err := client.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + b.namespace})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := client.Delete(t.Context(), b.namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case event, open := <-w.ResultChan():
			if !open {
				t.Fatal("the watch ended")
			}
			if event.Type == "DELETED" {
				return
			}
		case <-time.After(time.Minute):
			t.Fatal("it is still there")
		}
	}
}
