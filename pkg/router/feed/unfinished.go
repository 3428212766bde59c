package feed

import (
	"context"
	"sync/atomic"
)

// unfinished counts writes from their begin to their end.
type unfinished struct {
	count atomic.Int64
	none  chan struct{} // has a token when there may be none
}

func newUnfinished() *unfinished { return &unfinished{none: make(chan struct{}, 1)} }

func (u *unfinished) begin() { u.count.Add(1) }

func (u *unfinished) end() {
	if u.count.Add(-1) > 0 {
		return
	}
	select {
	case u.none <- struct{}{}:
	default:
	}
}

// wait returns true when there are none, and false when ctx ends before.
func (u *unfinished) wait(ctx context.Context) bool {
	for u.count.Load() > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-u.none:
		}
	}
	return true
}
