package lease

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const (
	// looks is how often in a Lease's duration it is looked whether that has passed.
	looks = 15
	// napsLast is the part of a Lease's duration between two looks that only a process which was suspended lets pass.
	napsLast = 3
)

// term is the time from the first write that takes a Lease to the last renewal of it. A process that was suspended for
// longer than the Lease lasts finds it free when it goes on, and leader election would take it again as if nobody had held
// it between; the work of before must not go on then. So a term ends, for good, when the Lease has outlived its duration
// by any clock, or when it would have to be taken anew.
type term struct {
	resourcelock.Interface
	duration time.Duration
	// over is closed when the term has ended.
	over chan struct{}

	mu sync.Mutex
	// The rest is guarded by mu. renewed is zero before the Lease was taken; transitions are those with which it was.
	renewed     time.Time
	transitions int
	ended       bool
	// holder was read last.
	holder string
	// looked is when it was looked last, and slept whether the process was suspended between two looks since the last
	// renewal; neither changes once the work was told of its end.
	looked      time.Time
	slept, told bool
}

// Get implements resourcelock.Interface.
func (t *term) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := t.Interface.Get(ctx)
	if err == nil {
		t.mu.Lock()
		t.holder = record.HolderIdentity
		t.mu.Unlock()
	}
	return record, raw, err
}

// Create implements resourcelock.Interface.
func (t *term) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return t.write(ctx, record, t.Interface.Create, true)
}

// Update implements resourcelock.Interface.
func (t *term) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if record.HolderIdentity == t.Identity() {
		return t.write(ctx, record, t.Interface.Update, false)
	}
	// It is given up: leader election reads it before, and would give up what somebody else holds.
	t.mu.Lock()
	others := t.holder != t.Identity()
	t.mu.Unlock()
	if others {
		return ErrLost
	}
	return t.Interface.Update(ctx, record)
}

// write takes or renews the Lease, unless that would be another term. anew says that there is no Lease.
func (t *term) write(ctx context.Context, record resourcelock.LeaderElectionRecord,
	do func(context.Context, resourcelock.LeaderElectionRecord) error, anew bool,
) error {
	sent := time.Now()
	t.mu.Lock()
	another := !t.renewed.IsZero() && (anew || record.LeaderTransitions != t.transitions)
	t.mu.Unlock()
	if another || t.overdue(sent) {
		t.end()
		return ErrLost
	}
	if err := do(ctx, record); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.renewed, t.transitions, t.slept = sent, record.LeaderTransitions, false
	return nil
}

// overdue says whether others may have taken the Lease.
func (t *term) overdue(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.renewed.IsZero() {
		return false
	}
	return passed(t.renewed, now) > t.duration
}

// passed is the time between two moments by the clock that says more. The wall clock tells of a machine that slept, which
// the monotonic one does not count; the latter tells of it where the former was set back.
func passed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// look says whether the process was suspended while it worked under the Lease.
func (t *term) look(now time.Time) (slept bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.told {
		t.slept = t.slept || !t.looked.IsZero() && passed(t.looked, now) > t.duration/napsLast
		t.looked = now
	}
	return t.slept
}

// tell is called when the work is told of its end. How long it takes to clean up then does not count.
func (t *term) tell(now time.Time) {
	t.look(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told = true
}

func (t *term) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.ended = true
		close(t.over)
	}
}

// watch ends the term when it is overdue, until ctx ends. lost is called when it has ended.
func (t *term) watch(ctx context.Context, lost func()) {
	tick := time.NewTicker(t.duration / looks)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.over:
			lost()
			return
		case <-tick.C:
			now := time.Now()
			if t.look(now); t.overdue(now) {
				t.end()
			}
		}
	}
}
