package rebalance

import (
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

const (
	// bucketsPerDouble makes a bucket 9% wide, so that a quantile is 9% too large at the most.
	bucketsPerDouble = 8
	// smallest duration that is told from shorter ones; the last bucket begins at 2^40 of it, 12 days.
	smallest = time.Microsecond
	buckets  = 40*bucketsPerDouble + 1
)

// durations counts durations by their logarithm, in 2.5 KiB however many there are.
type durations struct {
	counts [buckets]int64
	total  int64
	max    time.Duration
}

func (d *durations) add(x time.Duration) {
	d.counts[bucket(x)]++
	d.total++
	d.max = max(d.max, x)
}

func bucket(x time.Duration) int {
	if x <= smallest {
		return 0
	}
	return min(int(math.Log2(float64(x)/float64(smallest))*bucketsPerDouble), buckets-1)
}

// quantile is the duration that the part q of all does not exceed, 0 where there is none.
func (d *durations) quantile(q float64) time.Duration {
	want := int64(math.Ceil(q * float64(d.total)))
	var seen int64
	for i, n := range d.counts {
		if seen += n; seen >= want && n > 0 {
			upper := time.Duration(float64(smallest) * math.Exp2(float64(i+1)/bucketsPerDouble))
			return min(upper, d.max)
		}
	}
	return 0
}

// writeBlock is nil where nothing was counted.
func (d *durations) writeBlock() *v1alpha1.WriteBlock {
	if d.total == 0 {
		return nil
	}
	round := func(x time.Duration) metav1.Duration { return metav1.Duration{Duration: x.Round(time.Millisecond)} }
	return &v1alpha1.WriteBlock{P50: round(d.quantile(0.5)), P99: round(d.quantile(0.99)), Max: round(d.max)}
}
