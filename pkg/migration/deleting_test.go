package migration_test

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/migration"
)

// TestACopyThatSomebodyDeletesDoesNotStay: the fence lets a cell delete what is in a namespace that goes, and keeps the
// controllers of its finalizers from taking those off.
func TestACopyThatSomebodyDeletesDoesNotStay(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(b *bed, unit migration.Unit) error
		back bool
	}{
		"undone": {do: func(b *bed, unit migration.Unit) error { return b.mover().Undo(t.Context(), unit) }, back: true},
		"retracted": {do: func(b *bed, unit migration.Unit) error {
			if err := b.in(b.old, configMaps).Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
				return err
			}
			b.patch(b.old, configMaps, "a", `{"metadata":{"finalizers":null}}`)
			b.awaitAbsent(b.old, configMaps, "a")
			return b.mover().Retract(t.Context(), unit)
		}},
		"discarded": {do: func(b *bed, unit migration.Unit) error {
			copied := b.found(configMaps, b.get(b.new, configMaps, "a"))
			return migration.Discard(t.Context(), b.cells, migration.Leftover{Cell: "new", Object: copied})
		}, back: true},
	} {
		t.Run(name, func(t *testing.T) {
			b, unit := copyBeingDeleted(t)
			if err := test.do(b, unit); err != nil {
				t.Fatal(err)
			}
			b.awaitAbsent(b.new, configMaps, "a")
			if test.back && b.get(b.old, configMaps, "a") == nil {
				t.Error("the object itself is gone")
			}
		})
	}
	t.Run("moved", func(t *testing.T) {
		b, unit := copyBeingDeleted(t)
		b.move(unit, migration.Moved)
		if arrived := b.get(b.new, configMaps, "a"); arrived == nil || arrived.GetDeletionTimestamp() != nil || len(arrived.GetFinalizers()) != 1 {
			t.Errorf("arrived: %v", arrived)
		}
	})
}

// copyBeingDeleted is a unit whose move ended when its copy was made, which somebody has deleted since. A finalizer
// holds it.
func copyBeingDeleted(t *testing.T) (*bed, migration.Unit) {
	t.Helper()
	b := newBed(t)
	unit := b.unit(b.found(configMaps, b.make(b.old, configMaps, `metadata: {name: a, finalizers: [example.com/held]}`)))
	mover := b.barred()
	if !killWhen(mover, func(s migration.StepName) bool { return s == migration.Created }, func(ctx context.Context) { mover.Move(ctx, unit) }) {
		t.Fatal("no copy was made")
	}
	if err := b.in(b.new, configMaps).Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if left := b.get(b.new, configMaps, "a"); left == nil || left.GetDeletionTimestamp() == nil {
		t.Fatalf("it is not being deleted: %v", left)
	}
	return b, unit
}
