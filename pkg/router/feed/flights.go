package feed

import (
	"context"
	"sync/atomic"
)

// Scope is what the ring means to a write.
type Scope int

const (
	// Placed is a write that goes where its key is, which a window of a rebalance waits for.
	Placed Scope = iota
	// Shared is one to the RCP, from which it may be copied to all cells. Only a new epoch waits for it: a slow cell, to
	// which it is copied, does not hold up what moves between others.
	Shared
)

// Write is a write in flight. It goes by its State to the end.
type Write struct {
	*State
	counted *flights
}

// Begin lets a write begin by the newest configuration. [Write.End] has to be called when it is finished.
func (f *Feed) Begin(scope Scope) Write {
	for {
		s := f.state.Load()
		w := Write{s, s.placed}
		if scope == Shared {
			w.counted = s.shared
		}
		s.all.begin()
		w.counted.begin()
		// Whoever waits for the writes of s looks only after s was replaced: counted before that is counted.
		if f.state.Load() == s {
			return w
		}
		w.End()
	}
}

// End is called when a write is finished, whatever became of it.
func (w Write) End() {
	w.counted.end()
	w.all.end()
}

// Finished waits until every write that has begun is finished, or ctx ends, and says whether they are.
func (f *Feed) Finished(ctx context.Context) bool { return f.state.Load().all.wait(ctx) }

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
