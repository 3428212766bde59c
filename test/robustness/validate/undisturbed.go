package validate

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

const (
	// fewest is how many requests a p99 is of, at least: no more than ten of them are slower.
	fewest = 1000
	// draws is how often drills are drawn anew to say how far a ratio is to be trusted.
	draws = 400
)

// Slowdown is what the deaths of cells cost those who have nothing to do with them, over all drills of a run.
//
// The same clients ask in both windows, for the same keys with the same odds, and wait for one answer at a time: those of
// the dead cell keep them from asking for others, and make these no slower. But everything runs on one machine. The
// failover, a driver that is started again, and a backup daemon that makes up for what it has missed take the processors
// that the other cells and their clients need, which no federation on machines of its own would see: on few of them the
// ratio says how much there is to do at once rather than what cells have in common.
type Slowdown struct {
	// Drills, and their requests Before the deaths and During the failovers.
	Drills, Before, During int
	// P99Before and P99During are the 99th percentiles of all drills, each of which has the same weight in both: one that
	// is slow throughout takes longer for its failover, and would count as slower for having more requests there.
	P99Before, P99During time.Duration
	// Ratio is P99During over P99Before. Nine of ten runs of as many drills that are drawn from these lie between Low and
	// High; of one drill nobody can tell.
	Ratio, Low, High float64
}

// SlowdownOf compares the windows of drills. Those in which one has no requests are left out.
func SlowdownOf(drills []history.Beside) Slowdown {
	drills = slices.DeleteFunc(slices.Clone(drills), func(d history.Beside) bool { return len(d.Calm) == 0 || len(d.Trouble) == 0 })
	s := Slowdown{Drills: len(drills)}
	if s.Drills == 0 {
		return s
	}
	var before, during pool
	for i, d := range drills {
		before, during = before.with(i, d.Calm), during.with(i, d.Trouble)
	}
	before.sort()
	during.sort()
	s.Before, s.During = len(before), len(during)
	once := make([]float64, len(drills))
	for i := range once {
		once[i] = 1
	}
	s.P99Before, s.P99During = before.p99(once), during.p99(once)
	s.Ratio = ratio(s.P99During, s.P99Before)
	random := rand.New(rand.NewPCG(1, 1)) // the same drills have the same figures
	drawn := make([]float64, draws)
	for n := range drawn {
		times := make([]float64, len(drills))
		for range drills {
			times[random.IntN(len(drills))]++
		}
		drawn[n] = ratio(during.p99(times), before.p99(times))
	}
	slices.Sort(drawn)
	s.Low, s.High = drawn[draws/20], drawn[draws-1-draws/20]
	return s
}

func ratio(during, before time.Duration) float64 { return float64(during) / float64(max(1, before)) }

// String is one line.
func (s Slowdown) String() string {
	if s.Drills == 0 {
		return "objects of other cells: no drill has calm and trouble to compare"
	}
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	return fmt.Sprintf("objects of other cells, %d drills: p99 %s of %d requests before, %s of %d during; ratio %.2f, nine tenths of %d draws of drills %.2f to %.2f",
		s.Drills, round(s.P99Before), s.Before, round(s.P99During), s.During, s.Ratio, draws, s.Low, s.High)
}

// Undisturbed judges that requests for objects of cells that never died took at most so many times as long during the
// failovers as before, by the p99 of all drills together: that of one is one of its dozen slowest requests. most is 0 for
// any; a run in which no drill can be compared has nothing to judge.
func Undisturbed(s Slowdown, most float64) []string {
	switch {
	case most == 0, s.Drills == 0:
		return nil
	case s.Before < fewest, s.During < fewest:
		return []string{fmt.Sprintf("%d requests before and %d during failovers are too few to judge a p99 by: this proves nothing", s.Before, s.During)}
	case s.Ratio > most:
		return []string{fmt.Sprintf("requests for objects of other cells took %.2f times as long during failovers (p99); at most %.2f is wanted", s.Ratio, most)}
	}
	return nil
}

// pool has the requests of one window of all drills, the slowest first once they are sorted.
type pool []request

type request struct {
	took time.Duration
	// drill that it is of, and its weight where that counts once.
	drill  int
	weight float64
}

func (p pool) with(drill int, took []time.Duration) pool {
	for _, d := range took {
		p = append(p, request{d, drill, 1 / float64(len(took))})
	}
	return p
}

func (p pool) sort() {
	slices.SortFunc(p, func(a, b request) int { return cmp.Compare(b.took, a.took) })
}

// p99 where drills count so many times each.
func (p pool) p99(times []float64) time.Duration {
	const exact = 1e-9 // sums of weights are not
	slower := 0.0
	for _, n := range times {
		slower += n / 100
	}
	for _, r := range p {
		if slower -= r.weight * times[r.drill]; slower < exact {
			return r.took
		}
	}
	return 0
}
