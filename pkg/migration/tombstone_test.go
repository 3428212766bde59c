package migration_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// entombed moves a Secret to the new cell, and returns its tombstone.
func (b *bed) entombed(name string) *unstructured.Unstructured {
	b.t.Helper()
	b.move(b.unit(b.found(secrets, b.make(b.old, secrets, `metadata: {name: `+name+`}`))), migration.Moved)
	return b.get(b.old, secrets, name)
}

func (b *bed) delete(s side, k kind, name string) {
	b.t.Helper()
	if err := b.in(s, k).Delete(b.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

// ended are the ways in which the move of a Secret has ended before the rest of its unit moves.
var ended = map[string]func(b *bed, name string){
	"deleted since": func(b *bed, name string) {
		b.entombed(name)
		b.delete(b.new, secrets, name)
	},
	"in the new cell": func(b *bed, name string) { b.entombed(name) },
	"moved on": func(b *bed, name string) {
		b.entombed(name)
		b.patch(b.new, secrets, name, `{"metadata":{"labels":{"`+v1alpha1.LabelRebalanceStatus+`":"migrated"},"annotations":{"`+v1alpha1.AnnotationMovesTo+`":"elsewhere"}}}`)
	},
	"moved elsewhere": func(b *bed, name string) {
		b.entombed(name)
		b.delete(b.new, secrets, name)
		b.patch(b.old, secrets, name, `{"metadata":{"annotations":{"`+v1alpha1.AnnotationMovesTo+`":"elsewhere"}}}`)
	},
}

// theUnit finds the unit of a key in the old cell, wherever it has to go.
func (b *bed) theUnit(name string) migration.Unit {
	b.t.Helper()
	for _, unit := range b.units(snapshot(b.t, []string{"old"}, []string{"new"})).Units {
		if unit.Key == b.namespace+"/"+name {
			return unit
		}
	}
	return migration.Unit{}
}

// TestAnEarlierTombstoneKeepsNothingClosed has the new cell refuse what is in the unit beside the tombstone of a move that has
// ended: it stays writable in the old cell, as if the tombstone were not there.
func TestAnEarlierTombstoneKeepsNothingClosed(t *testing.T) {
	for name, end := range ended {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.admit(t, b.namespace, "object.metadata.name != 'refused'")
			end(b, "refused")
			tomb := b.get(b.old, secrets, "refused")
			before := b.make(b.old, configMaps, `metadata: {name: refused}`)
			unit := b.theUnit("refused")
			if diff := cmp.Diff([]string{"ns/refused old>new: configmaps refused, secrets refused migrated"}, b.names([]migration.Unit{unit})); diff != "" {
				t.Fatalf("found (-want +got):\n%s", diff)
			}
			if unit.Marked() {
				t.Error("the unit counts as begun with")
			}
			if result := b.move(unit, migration.Refused); result.Begun || result.CopyLeft {
				t.Errorf("result %+v", result)
			}
			b.untouched(configMaps, before)
			if err := b.mover().Retract(t.Context(), unit); err != nil {
				t.Errorf("retract: %v", err)
			}
			if now := b.get(b.old, secrets, "refused"); now.GetResourceVersion() != tomb.GetResourceVersion() {
				t.Errorf("the tombstone was written: %v", now.Object["metadata"])
			}
		})
	}
}

// TestAMoveBesideAnEarlierTombstoneGoesBackUntilItsFlip is killed after every step.
func TestAMoveBesideAnEarlierTombstoneGoesBackUntilItsFlip(t *testing.T) {
	b := newBed(t)
	ways := []string{"deleted since", "in the new cell", "moved on", "moved elsewhere"}
	for n := 1; ; n++ {
		name := fmt.Sprintf("f%d", n)
		ended[ways[n%len(ways)]](b, name)
		before := b.make(b.old, configMaps, `metadata: {name: `+name+`}`)
		mover := b.barred()
		unit := b.theUnit(name)
		step, killed := killAfter(mover, n, func(ctx context.Context) { mover.Move(ctx, unit) })
		if !killed {
			break
		}
		flipped := step == migration.Flipped
		if again := b.theUnit(name); step == migration.Revealed {
			if len(again.Objects) > 0 {
				t.Errorf("%s: found %v after it has moved", step, again)
			}
			continue
		} else if !again.Marked() {
			t.Errorf("%s: not found as begun with: %+v", step, again)
		}
		switch err := b.mover().Undo(t.Context(), b.theUnit(name)); {
		case flipped && errors.Is(err, migration.ErrFlipped):
			b.move(b.theUnit(name), migration.Moved)
			if diff := same(before, b.get(b.new, configMaps, name)); diff != "" {
				t.Errorf("moved (-old +new):\n%s", diff)
			}
		case !flipped && err == nil:
			b.untouched(configMaps, before)
		default:
			t.Errorf("%s: undo says %v", step, err)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// TestWhatWasDeletedBesideAnEarlierTombstoneIsGone, and its copy can be taken back.
func TestWhatWasDeletedBesideAnEarlierTombstoneIsGone(t *testing.T) {
	b := newBed(t)
	b.entombed("a")
	b.make(b.old, configMaps, `metadata: {name: a}`)
	unit := b.theUnit("a")
	mover := b.barred()
	killWhen(mover, func(s migration.StepName) bool { return s == migration.Created }, func(ctx context.Context) { mover.Move(ctx, unit) })
	b.delete(b.old, configMaps, "a")
	b.move(unit, migration.Gone)
	if err := b.mover().Retract(t.Context(), unit); err != nil {
		t.Fatal(err)
	}
	b.awaitAbsent(b.new, configMaps, "a")
	if obj := b.get(b.new, secrets, "a"); obj == nil || b.found(secrets, obj).Status != "" {
		t.Errorf("what had moved before is %v", obj)
	}
}

// TestALateDependentOfATombstone is owned by what the tombstone has become.
func TestALateDependentOfATombstone(t *testing.T) {
	b := newBed(t)
	tomb := b.entombed("a")
	b.make(b.old, configMaps, `metadata: {name: a`+owners(secrets, tomb)+`}`)
	b.move(b.theUnit("a"), migration.Moved)
	owner := b.get(b.new, secrets, "a")
	if got := b.get(b.new, configMaps, "a").GetOwnerReferences(); len(got) != 1 || got[0].UID != owner.GetUID() {
		t.Errorf("owners %v; want %s", got, owner.GetUID())
	}
}

// TestALateDependentMeetsOneOfItsName that a controller of the new cell has made for the owner that has arrived. The younger one
// there is replaced; an older one may have been written by clients before the late one was made, and stays.
func TestALateDependentMeetsOneOfItsName(t *testing.T) {
	b := newBed(t)
	bolts := b.define(t, "bolts", "")
	b.connect()
	for name, older := range map[string]side{"a": b.old, "b": b.new} {
		tomb := b.entombed(name)
		owner := map[side]*unstructured.Unstructured{b.old: tomb, b.new: b.get(b.new, secrets, name)}
		made := map[side]*unstructured.Unstructured{}
		younger := b.new
		if older == b.new {
			younger = b.old
		}
		for _, in := range []side{older, younger} {
			made[in] = b.make(in, bolts, fmt.Sprintf(`{metadata: {name: %s%s}, spec: {size: %d}}`, name, owners(secrets, owner[in]), len(made)))
			time.Sleep(time.Until(made[in].GetCreationTimestamp().Add(time.Second))) // which has whole seconds
		}
		if older == b.old {
			var result migration.Result
			err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
				result = b.mover().Move(ctx, b.theUnit(name))
				return !result.Retryable(), nil // the garbage collector takes notice of a new definition's objects after a while
			})
			if err != nil || result.Outcome != migration.Moved {
				t.Fatalf("%v, %+v", err, result)
			}
			after := b.get(b.new, bolts, name)
			if size, _, _ := unstructured.NestedInt64(after.Object, "spec", "size"); size != 0 || after.GetOwnerReferences()[0].UID != owner[b.new].GetUID() {
				t.Errorf("in the new cell is %v; want what has moved", after.Object)
			}
			continue
		}
		result := b.move(b.theUnit(name), migration.Exists)
		if result.Begun {
			t.Errorf("%+v; want it undone", result)
		}
		for in, was := range made {
			if diff := same(was, b.get(in, bolts, name)); diff != "" {
				t.Errorf("it was changed (-before +after):\n%s", diff)
			}
		}
	}
}

// TestACopyThatIsTouchedWhileItIsKept is made anew, or read again.
func TestACopyThatIsTouchedWhileItIsKept(t *testing.T) {
	for name, touch := range map[string]func(b *bed){
		"deleted": func(b *bed) { b.delete(b.new, configMaps, "a") },
		"written": func(b *bed) {
			b.patch(b.new, configMaps, "a", `{"metadata":{"annotations":{"`+v1alpha1.AnnotationKept+`":"by another"}}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			before := b.make(b.old, configMaps, `{metadata: {name: a}, data: {a: b}}`)
			unit := b.unit(b.found(configMaps, before))
			mover := b.barred()
			killWhen(mover, func(s migration.StepName) bool { return s == migration.Verified }, func(ctx context.Context) { mover.Move(ctx, unit) })
			var once atomic.Bool
			b.requests.before = func(cell string, r *http.Request) {
				if cell == "new" && r.Method == http.MethodPatch && once.CompareAndSwap(false, true) {
					touch(b)
				}
			}
			b.move(unit, migration.Moved)
			b.requests.before = nil
			if !once.Load() {
				t.Error("the copy was not kept")
			}
			if diff := same(before, b.get(b.new, configMaps, "a")); diff != "" {
				t.Errorf("moved (-old +new):\n%s", diff)
			}
		})
	}
}

// TestATombstoneThatCannotBecomeTheCopyMakesRoom: the Secret was deleted in the new cell, and made anew there with other
// data. Its old tombstone is immutable.
func TestATombstoneThatCannotBecomeTheCopyMakesRoom(t *testing.T) {
	b := newBed(t)
	const secret = `{metadata: {name: a, finalizers: [example.com/hold]}, immutable: true, data: {is: %s}}`
	first := b.make(b.old, secrets, fmt.Sprintf(secret, "Zmlyc3Q="))
	b.move(b.unit(b.found(secrets, first)), migration.Moved)
	tomb := b.get(b.old, secrets, "a")
	b.patch(b.new, secrets, "a", `{"metadata":{"finalizers":null}}`)
	b.delete(b.new, secrets, "a")
	second := b.make(b.new, secrets, fmt.Sprintf(secret, "c2Vjb25k"))

	unit := b.unit(b.found(secrets, second))
	unit.From, unit.To = "new", "old"
	var steps []migration.StepName
	mover := b.mover()
	mover.Step = func(s migration.Step) { steps = append(steps, s.Name) }
	if result := mover.Move(t.Context(), unit); result.Outcome != migration.Moved {
		t.Fatalf("%+v", result)
	}
	want := []migration.StepName{
		migration.Marked, migration.Discarded, migration.Created, migration.Verified, migration.Flipped, migration.Revealed,
	}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	after := b.get(b.old, secrets, "a")
	if diff := same(second, after); diff != "" {
		t.Errorf("moved (-new +old):\n%s", diff)
	}
	if immutable, _, _ := unstructured.NestedBool(after.Object, "immutable"); !immutable || after.GetUID() == tomb.GetUID() {
		t.Errorf("immutable %t, UID %s; want an immutable one that is not the tombstone %s", immutable, after.GetUID(), tomb.GetUID())
	}
	if now := b.get(b.new, secrets, "a"); b.found(secrets, now).Status != v1alpha1.Migrated || len(now.GetFinalizers()) > 0 {
		t.Errorf("left in the new cell is %v; want a tombstone", now.Object["metadata"])
	}
	if found := b.units(snapshot(t, []string{"new"}, []string{"old"})); len(found.Units)+len(found.Strays)+len(found.Leftovers) > 0 {
		t.Errorf("left are %+v; want nothing that is on its way", found)
	}
}
