package rebalance_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// entomb has a run move a Secret beside the config map of a unit, a client delete it where it has moved to, and the run
// be aborted: its tombstone is what is left, in the cell that the unit is in.
func (b *bed) entomb(unit migration.Unit) {
	b.t.Helper()
	name, ctx := unit.Objects[0].Name, b.t.Context()
	_, err := b.router.CoreV1().Secrets(b.namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	b.must(err)
	tombs := kubeOf(b.t, fence.AsMover(b.configs[unit.From])).CoreV1().Secrets(b.namespace)
	b.t.Cleanup(func() { _ = tombs.Delete(context.Background(), name, metav1.DeleteOptions{}) })
	run := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	d := b.driver("earlier")
	var once atomic.Bool
	d.Step = func(s rebalance.StepName) {
		if s == rebalance.SettlingWritten && once.CompareAndSwap(false, true) {
			b.must(b.cells[unit.To].CoreV1().Secrets(b.namespace).Delete(ctx, name, metav1.DeleteOptions{}))
			b.must(rebalance.Abort(ctx, b.client, run))
		}
	}
	b.start(d, run)
	b.finish(d, v1alpha1.RebalanceAborted)
	tomb, err := b.cells[unit.From].CoreV1().Secrets(b.namespace).Get(ctx, name, metav1.GetOptions{})
	b.must(err)
	if tomb.Labels[v1alpha1.LabelRebalanceStatus] != string(v1alpha1.Migrated) || tomb.Annotations[v1alpha1.AnnotationMovesTo] != unit.To {
		b.t.Fatalf("what is left is no tombstone of a move to %s: %v", unit.To, tomb.ObjectMeta)
	}
}

// TestAnEarlierTombstoneClosesNothing has a cell refuse what is in a unit beside the tombstone of an earlier run: a limit
// holds for it, nothing of it is closed to writes while the run rests, is paused or waits for a router, and the run can be
// aborted.
func TestAnEarlierTombstoneClosesNothing(t *testing.T) {
	b, before := growing(t, few)
	units := b.plan(nil)
	unit, object := units[0], units[0].Objects[0].Name
	b.entomb(unit)
	b.refuse(unit.To, object)
	b.label(units[1:3], "part", "first")
	run := b.accepted(v1alpha1.RebalanceSpec{Limit: &v1alpha1.RebalanceLimit{Selector: "part=first"}}).Run.Name
	d := b.driver("it")
	var begun atomic.Int32
	d.UnitStep = func(s migration.Step) {
		if s.Name == migration.Marked && s.Unit.Key == unit.Key {
			begun.Add(1)
		}
	}
	b.start(d, run)
	b.awaitRest(run, 2)
	if begun.Load() > 0 {
		t.Error("a unit begins that the limit does not choose")
	}

	b.must(rebalance.Resume(t.Context(), b.client, run, rebalance.ResumeOptions{}))
	b.await("all others to have moved", func() bool {
		p := b.moved(run)
		return p.Moved == p.Total-1 && p.Failed == 1
	})
	if f := b.rebalance(run).Status.Failures; len(f) != 1 || f[0].Key != unit.Key || f[0].Step != string(migration.Refused) || strings.Contains(f[0].Message, "not undone") {
		t.Errorf("failures are %+v", f)
	}
	b.must(rebalance.Pause(t.Context(), b.client, run))
	b.awaitPaused(run)
	if closed := b.closed(); len(closed) > 0 {
		t.Errorf("%v refuse writes while the run is paused", closed)
	}
	cm, err := b.router.CoreV1().ConfigMaps(b.namespace).Get(t.Context(), object, metav1.GetOptions{})
	b.must(err)
	cm.Annotations = map[string]string{"written": "yes"}
	_, err = b.router.CoreV1().ConfigMaps(b.namespace).Update(t.Context(), cm, metav1.UpdateOptions{})
	b.must(err)

	forget := b.silentRouter()
	attempts := begun.Load()
	b.must(rebalance.Resume(t.Context(), b.client, run, rebalance.ResumeOptions{}))
	b.await("another attempt", func() bool { return begun.Load() > attempts })
	b.awaitOpen(run)
	forget()
	b.must(rebalance.Abort(t.Context(), b.client, run))
	b.finish(d, v1alpha1.RebalanceAborted)
	for name, moved := range b.settled(before) {
		if moved {
			t.Errorf("%s is not where it was", name)
		}
	}
}

// TestUnitsBeginInTheOrderThatADryRunShows has one unit move after the other.
func TestUnitsBeginInTheOrderThatADryRunShows(t *testing.T) {
	b, before := growing(t, few)
	var planned, began []string
	for _, unit := range b.plan(nil) {
		planned = append(planned, unit.Key)
	}
	run := b.accepted(v1alpha1.RebalanceSpec{Window: 1}).Run.Name
	d := b.driver("it")
	d.UnitStep = func(s migration.Step) {
		if s.Name == migration.Marked {
			began = append(began, s.Unit.Key)
		}
	}
	b.start(d, run)
	b.finish(d, v1alpha1.RebalanceSucceeded)
	// One that waited for a router too long begins twice.
	if began = slices.Compact(began); !slices.Equal(planned, began) || len(planned) < 2 {
		t.Errorf("units began in the order %v; want %v", began, planned)
	}
	b.settled(before)
}
