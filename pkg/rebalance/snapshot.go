package rebalance

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// snapshot is the status as it has to be written.
func (t *tracker) snapshot(now time.Time) v1alpha1.RebalanceProgress {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := *t.base.DeepCopy()
	s.Pairs, s.Failures, s.Cells = nil, nil, nil
	var remaining int64
	for _, p := range t.pairs {
		p.Failed = 0
	}
	for _, f := range t.failing {
		t.of(pair{f.From, f.To}).Failed++
	}
	for _, p := range t.pairs {
		s.Pairs = append(s.Pairs, *p)
		remaining += p.Total - p.Moved
	}
	slices.SortFunc(s.Pairs, func(a, b v1alpha1.PairProgress) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To))
	})
	s.FailedUnits = t.countFailed()
	s.Failures = slices.SortedFunc(maps.Values(t.failing), func(a, b v1alpha1.UnitFailure) int {
		return cmp.Or(strings.Compare(a.Key, b.Key), strings.Compare(a.From, b.From))
	})
	// A key is a key of the list. Where objects of one key go two ways, the first is shown.
	s.Failures = slices.CompactFunc(s.Failures, func(a, b v1alpha1.UnitFailure) bool { return a.Key == b.Key })
	s.Failures = s.Failures[:min(len(s.Failures), maxFailuresShown)]
	t.speed(&s, remaining, now)
	if block := t.blocked.writeBlock(); block != nil {
		s.WriteBlock = block
	}
	for _, name := range slices.Sorted(maps.Keys(t.cells)) {
		c := t.cells[name]
		out := v1alpha1.RebalanceCell{Cell: name, WriteBlock: c.blocked.writeBlock()}
		if err := t.problems[name]; err != nil {
			out.Failing = err.Error()
		}
		if c.latency > 0 {
			out.Latency = &metav1.Duration{Duration: c.latency.Round(time.Millisecond)}
		}
		s.Cells = append(s.Cells, out)
	}
	return s
}

// speed is told only while units move.
func (t *tracker) speed(s *v1alpha1.RebalanceProgress, remaining int64, now time.Time) {
	s.UnitsPerMinute, s.EstimatedCompletionTime = 0, nil
	if s.Phase != v1alpha1.RebalanceMoving && s.Phase != v1alpha1.RebalanceAborting {
		t.samples = nil
		return
	}
	t.samples = append(t.samples, sample{now, t.moved})
	for now.Sub(t.samples[0].at) > speedOver {
		t.samples = t.samples[1:]
	}
	first := t.samples[0]
	elapsed := now.Sub(first.at).Seconds()
	if moved := t.moved - first.moved; moved > 0 && elapsed > 0 {
		speed := float64(moved) / elapsed
		s.UnitsPerMinute = int64(speed * 60)
		at := metav1.NewTime(now.Add(time.Duration(float64(remaining) / speed * float64(time.Second))).Truncate(time.Second))
		s.EstimatedCompletionTime = &at
	}
}
