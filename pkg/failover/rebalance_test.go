package failover_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// TestInTheMiddleOfARebalance: the run stands still, what the dead cell had not handed over yet is brought back where it
// moves from, and then the run goes on to its end without the cell.
func TestInTheMiddleOfARebalance(t *testing.T) {
	b := newBed(t)
	all, name, ended := b.growsToThree()
	b.namesWhatMoved("cell-3", name, all...)
	b.backUpMoving(all...)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	if s := b.ring().Status; s.Phase != v1alpha1.RingRebalancing || s.Target == nil {
		t.Errorf("the rebalance is not where it was: %+v", s)
	}
	for _, name := range all {
		if err := b.maps().set(name, "2"); err != nil {
			t.Errorf("write %s in the middle: %v", name, err)
		}
	}
	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}))
	b.must(<-ended)
	b.usable("cell-1", "2", all...)
	for _, name := range all {
		owner, _ := b.owner(name)
		if _, err := (configMaps{b, b.cells[owner]}).get(name); err != nil {
			t.Errorf("%s is not in %s, where it belongs: %v", name, owner, err)
		}
	}
	if n := b.envelopes("cell-1"); n != 0 {
		t.Errorf("%d envelopes of the cell are left", n)
	}
}

// TestACellDiesThatJoinsTheOnlyOne: it is not the last one, though the ring of before has no other.
func TestACellDiesThatJoinsTheOnlyOne(t *testing.T) {
	b := newBed(t)
	b.reset("cell-2")
	b.acknowledged()
	var all []string
	for i := range 30 {
		all = append(all, fmt.Sprintf("x-%d", i))
		_, err := b.maps().create(all[i], "1")
		b.must(err)
	}
	b.want("cell-1", "cell-2")
	name, ended := b.restsInTheMiddle()
	b.backUpMoving(all...)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	// Without the cell that joined there is nothing left to move, and the run may have ended by itself.
	if err := rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}); exit.CodeOf(err) != exit.Refused {
		b.must(err)
	}
	b.must(<-ended)
	b.usable("cell-1", "1", all...)
}

// growsToThree begins to move to cell-3 what two cells have, and stands still in the middle.
func (b *bed) growsToThree() (all []string, run string, ended <-chan error) {
	b.t.Helper()
	b.reset("cell-1", "cell-2")
	b.acknowledged()
	ours, others := b.fill(20)
	b.want(cellNames...)
	run, ended = b.restsInTheMiddle()
	return append(ours, others...), run, ended
}

// restsInTheMiddle begins a rebalance to the wanted ring, which stands still after its first step, and says how it ended.
func (b *bed) restsInTheMiddle() (name string, ended <-chan error) {
	b.t.Helper()
	started, err := rebalance.Start(b.t.Context(), b.rcp, rebalance.StartOptions{Spec: v1alpha1.RebalanceSpec{Window: 2, Step: 1}})
	b.must(err)
	name = started.Run.Name
	ctx, cancel := context.WithCancel(context.Background())
	b.t.Cleanup(cancel)
	end := make(chan error, 1)
	go func() {
		_, err := (&rebalance.Driver{RCP: b.rcp, Identity: "mover", LeaseDuration: lease, Logger: quiet()}).Run(ctx, name)
		end <- err
	}()
	b.await("the run rests in the middle", func() bool {
		run, err := b.client.Rebalances().Get(b.t.Context(), name, metav1.GetOptions{})
		b.must(err)
		return run.Status.Phase == v1alpha1.RebalancePaused
	})
	return name, end
}

// namesWhatMoved wants the report of the cell that a run moves to to name, as lost, exactly those objects that it has moved:
// there are no envelopes yet, and no client wrote them there.
func (b *bed) namesWhatMoved(cell, run string, names ...string) {
	b.t.Helper()
	facts, err := failover.Read(b.t.Context(), b.rcp, cell)
	b.must(err)
	report, err := failover.Report(facts)
	b.must(err)
	var want []string
	for _, name := range names {
		cm, err := (configMaps{b, b.cells[cell]}).get(name)
		if err == nil && cm.Labels[v1alpha1.LabelRebalanceStatus] == "" {
			want = append(want, failover.Key("", "configmaps", b.namespace, name))
		}
	}
	slices.Sort(want)
	if len(want) == 0 || !slices.Equal(report.Lost, want) {
		b.t.Errorf("run %s has moved %v, and the report of %s names %v", run, want, cell, report.Lost)
	}
}

// backUpMoving makes envelopes for both rings.
func (b *bed) backUpMoving(names ...string) {
	b.t.Helper()
	snap, err := routing.FromRing(b.ring())
	b.must(err)
	for _, name := range names {
		p, _ := snap.Table.LookupKey(b.namespace + "/" + name)
		at := p.Old()
		cm, err := (configMaps{b, b.cells[at]}).get(name)
		if err != nil || cm.Labels[v1alpha1.LabelRebalanceStatus] == string(v1alpha1.Migrated) {
			at = p.New()
		}
		for _, backup := range []string{p.OldBackup(), p.NewBackup()} {
			if backup != at && backup != "" {
				b.seal(name, at, backup)
			}
		}
	}
}

// want changes the wanted ring.
func (b *bed) want(cells ...string) {
	b.t.Helper()
	ring := b.ring()
	ring.Spec.Members = layout(cells...).Members
	_, err := b.client.Rings().Update(b.t.Context(), ring, metav1.UpdateOptions{})
	b.must(err)
}
