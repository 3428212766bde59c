package rebalance

import (
	"context"
	"sync"
)

// barrier lets units wait together. Whoever comes while a round is under way waits for the next one, which
// begins when that has ended and covers all who came before: what each of them wrote was written before it
// asked.
type barrier struct {
	// pass raises the window and returns when all routers acknowledge it. Its context is that of the run.
	pass func(ctx context.Context) error

	running sync.WaitGroup

	mu sync.Mutex
	// The rest is guarded by mu.
	next  *round
	going bool
}

// round is one bump. err is written before done is closed.
type round struct {
	done chan struct{}
	err  error
}

// wait returns when a round that began after the call has ended. All callers have the same context: the
// rounds end with it.
func (b *barrier) wait(ctx context.Context) error {
	b.mu.Lock()
	if b.next == nil {
		b.next = &round{done: make(chan struct{})}
	}
	mine := b.next
	if !b.going {
		b.going = true
		b.running.Go(func() { b.rounds(ctx) }) // ends when nobody waits; pass ends with ctx
	}
	b.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *barrier) rounds(ctx context.Context) {
	for {
		b.mu.Lock()
		r := b.next
		b.next = nil
		b.going = r != nil
		b.mu.Unlock()
		if r == nil {
			return
		}
		r.err = b.pass(ctx)
		close(r.done)
	}
}
