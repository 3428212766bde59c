package rebalance_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// fillWays makes config maps in a ring of one cell, so many for each cell that the wanted ring moves them to.
func (b *bed) fillWays(ways map[string]int) map[string]placed {
	b.t.Helper()
	snap, err := routing.Wanted(b.ring())
	b.must(err)
	out, left := map[string]placed{}, 0
	for _, n := range ways {
		left += n
	}
	for n := 0; left > 0; n++ {
		name := fmt.Sprintf("x-%d", n)
		p, _ := snap.Table.LookupKey(b.namespace + "/" + name)
		if !p.Moves() || ways[p.New()] == 0 {
			continue
		}
		ways[p.New()]--
		left--
		out[name] = b.place(p.Old(), name)
	}
	return out
}

// awaitUnusable waits until the run says of each of these cells, and of no other, that it cannot be used.
func (b *bed) awaitUnusable(run string, cells ...string) {
	b.t.Helper()
	b.await(fmt.Sprint("the run to say that it cannot use ", cells), func() bool {
		status := &b.rebalance(run).Status
		var failing []string
		for _, c := range status.Cells {
			if c.Failing != "" {
				failing = append(failing, c.Cell)
			}
		}
		return apimeta.IsStatusConditionFalse(status.Conditions, v1alpha1.ConditionCellsUsable) && slices.Equal(failing, cells)
	})
}

// TestACellThatIsDownKeepsNothingBetweenOthersClosed: while it is, another one goes away for a moment when units are marked in
// it, so that they cannot even be opened. They move once that one is back.
func TestACellThatIsDownKeepsNothingBetweenOthersClosed(t *testing.T) {
	b := newBed(t, member(1, 100))
	b.want(member(1, 100), member(2, 100), member(3, 100))
	const each = 3 // which is how many misses hold a pair of cells
	before := b.fillWays(map[string]int{"cell-2": each, "cell-3": each})
	run := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	d := b.driver("it")
	var down1, down3 atomic.Bool
	d.WrapCell = breakable(breakable(d.WrapCell, "cell-1", &down1), "cell-3", &down3)
	var once atomic.Bool
	d.UnitStep = func(s migration.Step) {
		if s.Name == migration.Marked && once.CompareAndSwap(false, true) {
			down1.Store(true)
			down3.Store(true)
		}
	}
	b.start(d, run)
	b.awaitUnusable(run, "cell-1", "cell-3")
	b.await("all units to have failed", func() bool { return len(b.rebalance(run).Status.Failures) == 2*each })
	if len(b.closed()) == 0 {
		t.Error("nothing was marked")
	}
	down1.Store(false)
	b.await("what moves between the other cells to have moved", func() bool {
		for _, p := range b.rebalance(run).Status.Pairs {
			if p.To == "cell-2" {
				return p.Moved == each
			}
		}
		return false
	})
	b.awaitUnusable(run, "cell-3")
	if ring := b.ring(); ring.Status.Phase != v1alpha1.RingRebalancing {
		t.Errorf("the ring is %s while a cell is down", ring.Status.Phase)
	}
	down3.Store(false)
	// A pause and its end have everything tried at once.
	b.must(rebalance.Pause(t.Context(), b.client, run))
	b.awaitPaused(run)
	b.must(rebalance.Resume(t.Context(), b.client, run, rebalance.ResumeOptions{}))
	ended := b.finish(d, v1alpha1.RebalanceSucceeded)
	if !apimeta.IsStatusConditionTrue(ended.Status.Conditions, v1alpha1.ConditionCellsUsable) {
		t.Errorf("conditions in the end: %+v", ended.Status.Conditions)
	}
	b.settled(before)
}

// TestASuccessorOpensWhatWasBegunBetweenCellsThatAnswer while another one is down, without which it can find nothing to move:
// what is half moved goes on.
func TestASuccessorOpensWhatWasBegunBetweenCellsThatAnswer(t *testing.T) {
	for _, step := range []migration.StepName{migration.Marked, migration.Flipped} {
		t.Run(string(step), func(t *testing.T) {
			b := newBed(t, member(1, 100))
			b.want(member(1, 100), member(2, 100), member(3, 100))
			before := b.fillWays(map[string]int{"cell-2": 4})
			run := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
			b.killAt(run, string(step))
			b.forgetLease()
			if len(b.closed())+len(b.halfMoved()) == 0 || step == migration.Flipped && len(b.halfMoved()) == 0 {
				t.Fatalf("a driver that was killed left closed %v, half moved %v", b.closed(), b.halfMoved())
			}
			d := b.driver("second")
			var down atomic.Bool
			down.Store(true)
			d.WrapCell = breakable(d.WrapCell, "cell-3", &down)
			b.start(d, run)
			b.await("all units to be opened", func() bool { return len(b.closed())+len(b.halfMoved()) == 0 })
			b.awaitUnusable(run, "cell-3")
			down.Store(false)
			b.finish(d, v1alpha1.RebalanceSucceeded)
			b.settled(before)
		})
	}
}

// TestASuccessorMovesAFamilyOnBetweenCellsThatAnswer: of a unit of which one object is half moved the others are moved after
// a barrier of their own, since writes of them may be under way.
func TestASuccessorMovesAFamilyOnBetweenCellsThatAnswer(t *testing.T) {
	b := newBed(t, member(1, 100))
	b.want(member(1, 100), member(2, 100), member(3, 100))
	before := b.fillWays(map[string]int{"cell-2": 1})
	f := b.family(b.plan(nil)[0])
	run := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	b.killAt(run, string(migration.Flipped))
	b.forgetLease()
	window := b.ring().Status.Window
	d := b.driver("second")
	var down atomic.Bool
	down.Store(true)
	d.WrapCell = breakable(d.WrapCell, "cell-3", &down)
	b.start(d, run)
	there := b.cells["cell-2"]
	b.await("all of it to have moved", func() bool {
		root, err := there.AppsV1().Deployments(b.namespace).Get(t.Context(), f.name, metav1.GetOptions{})
		child, also := there.CoreV1().Secrets(b.namespace).Get(t.Context(), f.name, metav1.GetOptions{})
		return err == nil && also == nil && root.Labels[v1alpha1.LabelRebalanceStatus]+child.Labels[v1alpha1.LabelRebalanceStatus] == "" &&
			len(b.closed())+len(b.halfMoved()) == 0
	})
	if now := b.ring().Status.Window; now <= window {
		t.Errorf("the window is %d, and was %d: no router was waited for", now, window)
	}
	b.awaitUnusable(run, "cell-3")
	down.Store(false)
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}

// halfMoved are the objects that do not count in the old cell any more, and in no new one yet.
func (b *bed) halfMoved() (names []string) {
	b.t.Helper()
	for name, cells := range b.copies() {
		left, counts := false, false
		for _, cm := range cells {
			status := v1alpha1.RebalanceStatus(cm.Labels[v1alpha1.LabelRebalanceStatus])
			left = left || status == v1alpha1.Migrated
			counts = counts || status == "" || status == v1alpha1.Migrating
		}
		if left && !counts {
			names = append(names, name)
		}
	}
	return names
}
