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
		})
	}
}
