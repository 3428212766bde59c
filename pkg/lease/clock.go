package lease

import (
	"net/http"
	"sync/atomic"
	"time"
)

// Moment is a point in time, by two clocks.
type Moment struct {
	// RCP is the time by the clock of the RCP, zero where it is not known; Local is that of this machine.
	RCP, Local time.Time
}

// Clock tells the time of the RCP, as it stands in its answers. The zero value knows none. It may be used by several
// goroutines.
type Clock struct {
	// ahead is by how many nanoseconds the RCP's clock was ahead of this machine's at its last answer, and known says that
	// there was one.
	ahead atomic.Int64
	known atomic.Bool
}

// Watch has a way to the RCP tell the time. It is for [k8s.io/client-go/rest.Config.Wrap].
func (c *Clock) Watch(next http.RoundTripper) http.RoundTripper { return timed{next, c} }

// Now is up to a second late by the RCP, which tells whole ones.
func (c *Clock) Now() Moment {
	now := Moment{Local: time.Now()}
	if c.known.Load() {
		now.RCP = now.Local.Add(time.Duration(c.ahead.Load()))
	}
	return now
}

// Since is how long ago something was that the RCP has noted the time of.
func (c *Clock) Since(noted time.Time) time.Duration {
	now := c.Now()
	if now.RCP.IsZero() {
		return now.Local.Sub(noted)
	}
	return now.RCP.Sub(noted)
}

// timed is a way to a server whose answers tell the time.
type timed struct {
	http.RoundTripper
	clock *Clock
}

// RoundTrip implements [http.RoundTripper].
func (t timed) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		t.clock.ahead.Store(int64(time.Until(date)))
		t.clock.known.Store(true)
	}
	return answer, nil
}
