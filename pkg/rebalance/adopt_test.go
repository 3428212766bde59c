package rebalance_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

func (b *bed) deleteRecord(run string) {
	b.t.Helper()
	b.must(b.client.Rebalances().Delete(b.t.Context(), run, metav1.DeleteOptions{}))
}

// TestARunGoesOnWhoseRecordWasDeleted while its driver is at work, which stops, and after one was killed at steps of the run and
// of a unit. Starting a rebalance makes the record anew, and all ends as if nobody had disturbed it.
func TestARunGoesOnWhoseRecordWasDeleted(t *testing.T) {
	undisturbed := undisturbed(t)
	cases := map[string]func(b *bed, run string){
		"at work": func(b *bed, run string) {
			d := b.driver("first")
			var once atomic.Bool
			d.UnitStep = func(s migration.Step) {
				if s.Name == migration.Flipped && once.CompareAndSwap(false, true) {
					b.deleteRecord(run)
				}
			}
			b.start(d, run)
			wantRefusal(b.t, (<-d.result).err, "there is no rebalance "+run)
		},
	}
	for _, step := range []string{
		string(rebalance.PreparingWritten), string(migration.Marked), string(migration.Flipped), string(rebalance.SettlingWritten),
	} {
		cases["killed at "+step] = func(b *bed, run string) {
			b.killAt(run, step)
			b.forgetLease()
			b.deleteRecord(run)
		}
	}
	for name, stop := range cases {
		t.Run(name, func(t *testing.T) {
			b, before := replacing(t)
			epoch := b.ring().Status.Epoch
			run := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
			stop(b, run)
			if phase := b.ring().Status.Phase; phase == v1alpha1.RingStable {
				t.Fatal("the run had ended")
			}
			anew := b.accepted(v1alpha1.RebalanceSpec{})
			told := slices.ContainsFunc(anew.Warnings, func(w string) bool { return strings.Contains(w, "rebalance "+run+", whose record was deleted") })
			if anew.Run.Name != run || !told {
				t.Errorf("%s was started, with the warnings %q; want %s to be made anew", anew.Run.Name, anew.Warnings, run)
			}
			second := b.driver("second")
			b.start(second, run)
			ended := b.finish(second, v1alpha1.RebalanceSucceeded)
			b.settled(before)
			if diff := cmp.Diff(undisturbed, b.left(before)); diff != "" {
				t.Errorf("what is left differs (-undisturbed +this):\n%s", diff)
			}
			if p := rebalance.ProgressOf(&ended.Status); p.Moved != p.Total {
				t.Errorf("progress is %+v", p)
			}
			b.wantEpochs(ended, epoch, epoch+4)
		})
	}
}

// wantEpochs wants a record to say between which epochs the run went, the last of which the ring is in.
func (b *bed) wantEpochs(run *v1alpha1.Rebalance, from, to int64) {
	b.t.Helper()
	if s, now := run.Status, b.ring().Status.Epoch; s.FromEpoch != from || s.ToEpoch != to || now != to {
		b.t.Errorf("run %s went from epoch %d to %d, and the ring is in %d; want %d to %d", run.Name, s.FromEpoch, s.ToEpoch, now, from, to)
	}
}

// TestARunWalksBackWhoseRecordWasDeleted: its record made anew says from which epoch on it has gone there and back.
func TestARunWalksBackWhoseRecordWasDeleted(t *testing.T) {
	b, before := replacing(t)
	epoch := b.ring().Status.Epoch
	run := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	first := b.driver("first")
	var aborted, deleted atomic.Bool
	first.Step = func(at rebalance.StepName) {
		switch {
		case at == rebalance.UnitsMoved && aborted.CompareAndSwap(false, true):
			b.must(rebalance.Abort(t.Context(), b.client, run))
		case at == rebalance.RebalancingAcknowledged && aborted.Load() && deleted.CompareAndSwap(false, true):
			b.deleteRecord(run)
		}
	}
	b.start(first, run)
	wantRefusal(t, (<-first.result).err, "there is no rebalance "+run)
	if s := b.ring().Status; !s.Aborting || s.Phase != v1alpha1.RingRebalancing {
		t.Fatalf("the ring is %s, aborting %t", s.Phase, s.Aborting)
	}
	if anew := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name; anew != run {
		t.Errorf("%s was started; want %s to be made anew", anew, run)
	}
	second := b.driver("second")
	b.start(second, run)
	b.wantEpochs(b.finish(second, v1alpha1.RebalanceAborted), epoch, epoch+6)
	b.settled(before)
}
