package validate_test

import (
	"math"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

// requests take 1 ms each, but for the last ones, which take so long.
func requests(n, slow int, slowest time.Duration) []time.Duration {
	out := make([]time.Duration, n)
	for i := range out {
		if out[i] = time.Millisecond; i >= n-slow {
			out[i] = slowest
		}
	}
	return out
}

func TestUndisturbed(t *testing.T) {
	const ms = time.Millisecond
	calm := requests(1000, 10, 100*ms)
	for name, c := range map[string]struct {
		drills []history.Beside
		most   float64
		ratio  float64
		bad    bool
	}{
		"as before":               {[]history.Beside{{Calm: calm, Trouble: calm}}, 1.2, 1, false},
		"within what is wanted":   {[]history.Beside{{Calm: calm, Trouble: requests(2000, 20, 119*ms)}}, 1.2, 1.19, false},
		"slower":                  {[]history.Beside{{Calm: calm, Trouble: requests(2000, 20, 130*ms)}}, 1.2, 1.3, true},
		"slower, and not judged":  {[]history.Beside{{Calm: calm, Trouble: requests(2000, 20, 130*ms)}}, 0, 1.3, false},
		"too few of them slower":  {[]history.Beside{{Calm: calm, Trouble: requests(2000, 19, 900*ms)}}, 1.2, .01, false},
		"quicker":                 {[]history.Beside{{Calm: calm, Trouble: requests(2000, 20, 50*ms)}}, 1.2, .5, false},
		"too few before":          {[]history.Beside{{Calm: requests(999, 10, 100*ms), Trouble: calm}}, 1.2, 1, true},
		"too few during":          {[]history.Beside{{Calm: calm, Trouble: requests(999, 10, 100*ms)}}, 1.2, 1, true},
		"none to compare":         {[]history.Beside{{Calm: calm}, {Trouble: calm}}, 1.2, 0, false},
		"slower in one of many":   {[]history.Beside{{Calm: calm, Trouble: calm}, {Calm: calm, Trouble: requests(1000, 10, 101*ms)}}, 1.2, 1, false},
		"slower in one, and most": {[]history.Beside{{Calm: calm, Trouble: calm}, {Calm: calm, Trouble: requests(1000, 30, 150*ms)}}, 1.2, 1.5, true},
		// It is slow before the death as well, and its failover takes a hundred times as long.
		"a slow drill beside ten others": {
			append(tenfold(history.Beside{Calm: calm, Trouble: calm}), history.Beside{Calm: requests(1000, 15, 300*ms), Trouble: requests(100000, 1500, 300*ms)}), 1.2, 1, false,
		},
	} {
		s := validate.SlowdownOf(c.drills)
		if math.Abs(s.Ratio-c.ratio) > 1e-6 {
			t.Errorf("%s: %s; want %.2f", name, s, c.ratio)
		}
		problems := validate.Undisturbed(s, c.most)
		if bad := len(problems) > 0; bad != c.bad {
			t.Errorf("%s: %s: %q", name, s, problems)
		}
	}
}

func tenfold(d history.Beside) (out []history.Beside) {
	for range 10 {
		out = append(out, d)
	}
	return out
}

// TestASlowdownIsTrustedAsFarAsDrillsAgree: of drills that are all alike the ratio is certain, of others it is not.
func TestASlowdownIsTrustedAsFarAsDrillsAgree(t *testing.T) {
	const ms = time.Millisecond
	calm := requests(1000, 20, 100*ms)
	alike := validate.SlowdownOf(tenfold(history.Beside{Calm: calm, Trouble: requests(1000, 20, 110*ms)}))
	if alike.Low != alike.Ratio || alike.High != alike.Ratio {
		t.Errorf("drills are alike: %s", alike)
	}
	var drills []history.Beside
	for n := range 10 {
		drills = append(drills, history.Beside{Calm: calm, Trouble: requests(1000, 20, time.Duration(90+10*n)*ms)})
	}
	if s := validate.SlowdownOf(drills); s.Low >= s.Ratio || s.High <= s.Ratio {
		t.Errorf("drills differ: %s", s)
	}
}
