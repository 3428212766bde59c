package rebalance

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// gather is how long a round waits for more units, unless a share of those in flight waits already: one of gatherShare.
	// A round costs the RCP and each router a write, and all who watch the Ring an event, however many units it is for.
	gather      = 100 * time.Millisecond
	gatherShare = 4
)

// barrier lets units wait together. Whoever comes while a round is under way waits for the next one, which
// begins when that has ended and enough wait, and covers all who came before: what each of them wrote was written
// before it asked.
type barrier struct {
	// pass raises the window and returns when all routers acknowledge it. Its context is that of the run.
	pass func(ctx context.Context) error

	running sync.WaitGroup

	mu sync.Mutex
	// The rest is guarded by mu. next takes whoever comes.
	next  *round
	going bool
	units int // in flight, whether they wait or not
}

// round is one bump. err is written before done is closed.
type round struct {
	done chan struct{}
	err  error
	// waiting, and enough, which is closed when there is no reason to wait for more, are guarded by the barrier's mu.
	waiting int
	enough  chan struct{}
	full    bool
}

// enter and leave say that a unit is in flight, and that it is not any more.
func (b *barrier) enter() { b.count(1) }
func (b *barrier) leave() { b.count(-1) }

func (b *barrier) count(units int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.units += units
	b.weigh()
}

// weigh lets the next round begin where enough wait for it.
func (b *barrier) weigh() {
	if r := b.next; r != nil && !r.full && gatherShare*r.waiting >= b.units {
		r.full = true
		close(r.enough)
	}
}

// wait returns when a round that began after the call has ended. All callers have the same context: the
// rounds end with it.
func (b *barrier) wait(ctx context.Context) error {
	b.mu.Lock()
	if b.next == nil {
		b.next = &round{done: make(chan struct{}), enough: make(chan struct{})}
	}
	mine := b.next
	mine.waiting++
	b.weigh()
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
		b.going = r != nil
		b.mu.Unlock()
		if r == nil {
			return
		}
		b.gather(ctx, r)
		r.err = b.pass(ctx)
		close(r.done)
		if errors.Is(r.err, errSilent) {
			b.refuse(r.err)
		}
	}
}

// refuse ends the next round before it begins: those who wait for it have waited for the same routers already.
func (b *barrier) refuse(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		b.next.err = err
		close(b.next.done)
		b.next = nil
	}
}

// gather closes a round to newcomers once enough wait, or for long enough.
func (b *barrier) gather(ctx context.Context, r *round) {
	timer := time.NewTimer(gather)
	defer timer.Stop()
	select {
	case <-r.enough:
	case <-timer.C:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = nil
}
