package feed

import (
	"context"
	"sync/atomic"
)

// flights counts writes from their begin to their end. One waits for them at a time.
type flights struct {
	count atomic.Int64
	none  chan struct{} // has a token when there may be none
}

func newFlights() *flights { return &flights{none: make(chan struct{}, 1)} }

func (f *flights) begin() { f.count.Add(1) }

func (f *flights) end() {
	if f.count.Add(-1) > 0 {
		return
	}
	select {
	case f.none <- struct{}{}:
	default:
	}
}

// wait returns true when there are none, and false when ctx ends before.
func (f *flights) wait(ctx context.Context) bool {
	for f.count.Load() > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-f.none:
		}
	}
	return true
}
