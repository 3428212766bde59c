package migration_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// scale writes past the fence.
func (f *family) scale(replicas int64) {
	f.b.t.Helper()
	_, err := f.b.old.admin.Resource(deployments.GroupVersionResource).Namespace(f.b.namespace).Patch(f.b.t.Context(), f.name,
		types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas), metav1.PatchOptions{}, "scale")
	if err != nil {
		f.b.t.Error(err)
	}
}

func replicasOf(obj *unstructured.Unstructured) int64 {
	replicas, _, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas")
	return replicas
}

// gaveUp wants a result that is worth another attempt, and says how often this one tried.
func (b *bed) gaveUp(result migration.Result, message string, begun bool) {
	b.t.Helper()
	if result.Outcome != migration.Unavailable || !result.Retryable() || result.CopyLeft || result.Begun != begun || !strings.Contains(result.Message, message) {
		b.t.Fatalf("%+v; want %s, begun %t, %q", result, migration.Unavailable, begun, message)
	}
}

// TestAMoveGivesUpWhatIsScaledAgainAndAgain: all is open again, and the next call moves it with the last scale.
func TestAMoveGivesUpWhatIsScaledAgainAndAgain(t *testing.T) {
	b := newBed(t)
	f := newFamily(b, "f")
	f.kinds, f.before = f.kinds[1:], f.before[1:] // without the Service the Deployment is the first that flips
	replicas := f.scaleAlways(false)
	scaled := b.get(b.old, deployments, f.name)
	if got := replicasOf(scaled); got != replicas {
		t.Errorf("%d replicas in the old cell; want the last scale, %d", got, replicas)
	}
	root := f.before[len(f.before)-1]
	if err := unstructured.SetNestedField(root.Object, replicas, "spec", "replicas"); err != nil {
		t.Fatal(err)
	}
	root.SetManagedFields(scaled.GetManagedFields()) // who scaled is among them
	f.stays()
	f.moves(replicas)
}

// TestWhatIsScaledAgainAndAgainBesideAFlip can only be moved on. What it owns does not flip before it.
func TestWhatIsScaledAgainAndAgainBesideAFlip(t *testing.T) {
	b := newBed(t)
	f := newFamily(b, "f")
	replicas := f.scaleAlways(true)
	for _, k := range f.kinds {
		want := v1alpha1.Migrating
		if k.Kind == services.Kind {
			want = v1alpha1.Migrated // nobody owns it, and it comes first
		}
		if got := b.found(k, b.get(b.old, k, f.name)).Status; got != want {
			t.Errorf("the %s is %q in the old cell; want %q", k.Kind, got, want)
		}
	}
	f.moves(replicas)
}

// scaleAlways scales the Deployment whenever its copy was verified, until the move is given up, and returns the last scale.
func (f *family) scaleAlways(begun bool) (replicas int64) {
	f.b.t.Helper()
	mover := f.b.barred()
	const before = 10
	replicas = before
	mover.Step = func(s migration.Step) {
		if s.Name == migration.Verified && s.Object.Resource.Kind == deployments.Kind {
			replicas++
			f.scale(replicas)
		}
	}
	f.b.gaveUp(mover.Move(f.b.t.Context(), f.unit()), "changed 8 times between copy and flip", begun)
	if replicas != before+8 {
		f.b.t.Errorf("scaled %d times; want 8", replicas-before)
	}
	return replicas
}

// moves moves the family as it is now.
func (f *family) moves(replicas int64) {
	f.b.t.Helper()
	f.refound = true
	f.b.move(f.unit(), migration.Moved)
	if got := replicasOf(f.b.get(f.b.new, deployments, f.name)); got != replicas {
		f.b.t.Errorf("%d replicas in the new cell; want %d", got, replicas)
	}
	for _, k := range f.kinds {
		obj, tomb := f.b.get(f.b.new, k, f.name), f.b.get(f.b.old, k, f.name)
		if f.b.found(k, obj).Status != "" || f.b.found(k, tomb).Status != v1alpha1.Migrated {
			f.b.t.Errorf("%s: labels %v in the new cell, %v in the old", k.Kind, obj.GetLabels(), tomb.GetLabels())
		}
	}
}

// TestAMoveGivesUpACopyThatIsDeletedAgainAndAgain, before its status is written.
func TestAMoveGivesUpACopyThatIsDeletedAgainAndAgain(t *testing.T) {
	b := newBed(t)
	before := b.make(b.old, deployments, movedKinds["Deployment"].text)
	mover := b.mover()
	mover.Step = func(s migration.Step) {
		if s.Name == migration.Created {
			b.delete(b.new, deployments, "x")
		}
	}
	b.gaveUp(mover.Move(t.Context(), b.unit(b.found(deployments, before))), "cell new had another copy 8 times", false)
	b.untouched(deployments, before)
	b.move(b.unit(b.found(deployments, b.get(b.old, deployments, "x"))), migration.Moved)
	if diff := same(before, b.get(b.new, deployments, "x")); diff != "" {
		t.Errorf("moved (-old +new):\n%s", diff)
	}
}

// TestAMoveGivesUpACopyThatIsWrittenAgainAndAgain when it is to be revealed: there is only forward then.
func TestAMoveGivesUpACopyThatIsWrittenAgainAndAgain(t *testing.T) {
	b := newBed(t)
	before := b.make(b.old, configMaps, `{metadata: {name: x}, data: {a: b}}`)
	n := 0
	b.requests.before = func(cell string, r *http.Request) {
		if cell == "new" && r.Method == http.MethodPut {
			n++
			b.patch(b.new, configMaps, "x", fmt.Sprintf(`{"metadata":{"annotations":{"written":"%d"}}}`, n))
		}
	}
	b.gaveUp(b.mover().Move(t.Context(), b.unit(b.found(configMaps, before))), "changed 8 times while it was to be revealed", true)
	b.requests.before = nil
	if tomb := b.get(b.old, configMaps, "x"); n != 8 || b.found(configMaps, tomb).Status != v1alpha1.Migrated {
		t.Errorf("written %d times, the original is %v; want 8, and a tombstone", n, tomb.Object["metadata"])
	}
	b.move(b.unit(b.found(configMaps, b.get(b.old, configMaps, "x"))), migration.Moved)
	after := b.get(b.new, configMaps, "x")
	if b.found(configMaps, after).Status != "" || after.GetAnnotations()["written"] != "8" {
		t.Errorf("the copy is %v; want it revealed, with what was written last", after.Object["metadata"])
	}
}
