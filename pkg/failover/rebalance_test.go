package failover_test

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// TestInTheMiddleOfARebalance: the run stands still, what the dead cell had not handed over yet is brought back where it
// moves from, and then the run goes on to its end without the cell.
func TestInTheMiddleOfARebalance(t *testing.T) {
	b := newBed(t)
	b.reset("cell-1", "cell-2")
	ours, others := b.fill(12)
	all := append(append([]string{}, ours...), others...)
	b.want(cellNames...)
	started, err := rebalance.Start(t.Context(), b.rcp, rebalance.StartOptions{Spec: v1alpha1.RebalanceSpec{Window: 2, Step: 1}})
	b.must(err)
	name := started.Run.Name
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := (&rebalance.Driver{RCP: b.rcp, Identity: "mover", LeaseDuration: lease, Logger: quiet()}).Run(ctx, name)
		ended <- err
	}()
	defer cancel()
	b.await("the run rests in the middle", func() bool {
		run, err := b.client.Rebalances().Get(t.Context(), name, metav1.GetOptions{})
		b.must(err)
		return run.Status.Phase == v1alpha1.RebalancePaused
	})
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
			if backup != at {
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
