package diff

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

func TestTheLastRunThatMovedSaysHowLongTheNextTakes(t *testing.T) {
	began := time.Date(2026, 3, 7, 11, 0, 0, 0, time.UTC)
	run := func(name string, phase v1alpha1.RebalancePhase, after time.Duration, moved ...int64) v1alpha1.Rebalance {
		r := v1alpha1.Rebalance{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.RebalanceSpec{Window: 50}}
		start, end := metav1.NewTime(began.Add(after)), metav1.NewTime(began.Add(after+100*time.Second))
		r.Status.Phase, r.Status.StartTime, r.Status.CompletionTime = phase, &start, &end
		for _, n := range moved {
			r.Status.Pairs = append(r.Status.Pairs, v1alpha1.PairProgress{Moved: n})
		}
		return r
	}
	runs := []v1alpha1.Rebalance{
		run("r-3", v1alpha1.RebalanceSucceeded, 2*time.Hour, 150, 50),
		run("r-2", v1alpha1.RebalanceSucceeded, time.Hour, 1),
		run("aborted", v1alpha1.RebalanceAborted, 3*time.Hour, 1),
		run("nothing-moved", v1alpha1.RebalanceSucceeded, 4*time.Hour),
		{ObjectMeta: metav1.ObjectMeta{Name: "waits"}},
	}
	if got := estimate(runs, 600); got == nil || *got != (Estimate{Seconds: 300, LikeRun: "r-3", Window: 50}) {
		t.Errorf("estimate %+v; want that of r-3, which moved two a second", got)
	}
	if got := estimate(runs[1:2], 600); got == nil || got.Seconds != 60000 {
		t.Errorf("estimate %+v; want 60000 s", got)
	}
	back := run("clock-put-back", v1alpha1.RebalanceSucceeded, 5*time.Hour, 100)
	back.Status.CompletionTime = &metav1.Time{Time: back.Status.StartTime.Add(-time.Minute)}
	if got := estimate(append(runs, back), 600); got == nil || got.LikeRun != "r-3" {
		t.Errorf("estimate %+v; want that of r-3, not of one that took less than nothing", got)
	}
	for name, got := range map[string]*Estimate{"nothing to move": estimate(runs, 0), "no run has moved anything": estimate(runs[2:], 600)} {
		if got != nil {
			t.Errorf("%s: estimate %+v", name, got)
		}
	}
}
