package mirror

import (
	"slices"
	"time"
)

// window is how many of the newest lags the quantiles are of.
const window = 1024

// samples are the newest lags of one pair of cells: the time from an event to its envelope.
type samples struct {
	newest []time.Duration
	at     int
	// count is how many there were in all.
	count int64
}

func (s *samples) add(lag time.Duration) {
	s.count++
	if len(s.newest) < window {
		s.newest = append(s.newest, lag)
		return
	}
	s.newest[s.at] = lag
	s.at = (s.at + 1) % window
}

// quantile of the newest lags, 0 where there are none.
func (s *samples) quantile(q float64) time.Duration {
	if len(s.newest) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.newest))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// lag are the samples of this cell's objects in another one.
func (c *cell) lag(home string) *samples {
	s := c.lags[home]
	if s == nil {
		s = &samples{}
		c.lags[home] = s
	}
	return s
}
