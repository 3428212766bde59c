package rebalance_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// takeFenceOff takes the fence off a cell until it is put back, at the end of the test at the latest.
func (b *bed) takeFenceOff(cell string) (putBack func()) {
	b.t.Helper()
	b.must(fence.Remove(b.t.Context(), b.configs[cell]))
	putBack = sync.OnceFunc(func() {
		ctx := context.WithoutCancel(b.t.Context())
		_, err := fence.Install(ctx, b.configs[cell])
		b.must(err)
		b.must(fence.Await(ctx, b.configs[cell]))
	})
	b.t.Cleanup(putBack)
	return putBack
}

// unchecked makes a run by the API, which nobody has checked.
func (b *bed) unchecked() (name string) {
	b.t.Helper()
	run := &v1alpha1.Rebalance{ObjectMeta: metav1.ObjectMeta{Name: "unchecked"}, Spec: v1alpha1.RebalanceSpec{Window: 10}}
	_, err := b.client.Rebalances().Create(b.t.Context(), run, metav1.CreateOptions{})
	b.must(err)
	return run.Name
}

// notBegun wants the run to have changed nothing.
func (b *bed) notBegun(run string) {
	b.t.Helper()
	if ring, status := b.ring(), b.rebalance(run).Status; ring.Status.Phase != v1alpha1.RingStable || status.StartTime != nil {
		b.t.Errorf("the ring is %s, and the run began at %v", ring.Status.Phase, status.StartTime)
	}
}

// TestARunThatNobodyCheckedWaitsForTheFence of a cell that has lost it. It begins, and moves everything, once that is back.
func TestARunThatNobodyCheckedWaitsForTheFence(t *testing.T) {
	b := newBed(t, member(1, 100))
	before := b.fill(20)
	putBack := b.takeFenceOff("cell-2")
	b.want(member(1, 100), member(2, 100))
	run, d := b.unchecked(), b.driver("it")
	b.start(d, run)
	b.awaitUnusable(run, "cell-2")
	usable := apimeta.FindStatusCondition(b.rebalance(run).Status.Conditions, v1alpha1.ConditionCellsUsable)
	if !strings.Contains(usable.Message, "the fence of cell cell-2 is Missing") || !strings.Contains(usable.Message, "kubectl cell add cell-2") {
		t.Errorf("what keeps the run from beginning: %q", usable.Message)
	}
	b.notBegun(run)
	putBack()
	b.finish(d, v1alpha1.RebalanceSucceeded)
	if moved := b.settled(before); len(moved) == 0 {
		t.Error("nothing has moved")
	}
}

// TestARunThatWaitsForTheFenceIsAborted before it has begun.
func TestARunThatWaitsForTheFenceIsAborted(t *testing.T) {
	b := newBed(t, member(1, 100))
	b.takeFenceOff("cell-2")
	b.want(member(1, 100), member(2, 100))
	run, d := b.unchecked(), b.driver("it")
	b.start(d, run)
	b.awaitUnusable(run, "cell-2")
	b.must(rebalance.Abort(t.Context(), b.client, run))
	b.finish(d, v1alpha1.RebalanceAborted)
	b.notBegun(run)
}

// TestAPauseIsHeardWhileFencesAreLookedAt, which takes as long as a cell takes to answer.
func TestAPauseIsHeardWhileFencesAreLookedAt(t *testing.T) {
	b := newBed(t, member(1, 100))
	before := b.fill(20)
	b.want(member(1, 100), member(2, 100))
	run, d := b.unchecked(), b.driver("it")
	var hangs atomic.Bool
	hangs.Store(true)
	asked := make(chan struct{}, 100)
	d.WrapCell = breaking(d.WrapCell, "cell-2", new(atomic.Bool), func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if hangs.Load() {
			asked <- struct{}{}
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		return next.RoundTrip(r)
	})
	b.start(d, run)
	<-asked
	b.must(rebalance.Pause(t.Context(), b.client, run))
	b.awaitPaused(run)
	b.notBegun(run)
	hangs.Store(false)
	b.must(rebalance.Resume(t.Context(), b.client, run, rebalance.ResumeOptions{}))
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}

// TestWhatIsWantedMeanwhileIsLookedAt: another cell enters the wanted ring while the fences of the others are looked at.
func TestWhatIsWantedMeanwhileIsLookedAt(t *testing.T) {
	b := newBed(t, member(1, 100))
	before := b.fill(20)
	putBack := b.takeFenceOff("cell-3")
	b.want(member(1, 100), member(2, 100))
	run, d := b.unchecked(), b.driver("it")
	asked, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.WrapCell = breaking(d.WrapCell, "cell-2", new(atomic.Bool), func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		once.Do(func() {
			close(asked)
			<-goOn
		})
		return next.RoundTrip(r)
	})
	b.start(d, run)
	<-asked
	b.want(member(1, 100), member(2, 100), member(3, 100))
	close(goOn)
	b.awaitUnusable(run, "cell-3")
	b.notBegun(run)
	putBack()
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}
