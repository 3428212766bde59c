package lease

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// looks is how often in a Lease's duration it is looked whether that has passed.
const looks = 15

// term is the time from the first write that takes a Lease to the last renewal of it. A process that was suspended for
// longer than the Lease lasts finds it free when it goes on, and leader election would take it again as if nobody had held
// it between; the work of before must not go on then. So a term ends, for good, when the Lease has outlived its duration
// by any clock, or when it would have to be taken anew.
type term struct {
	resourcelock.Interface
	leases   coordinationv1.LeaseInterface
	name     string
	duration time.Duration
	// over is closed when the term has ended.
	over chan struct{}

	mu sync.Mutex
	// The rest is guarded by mu. renewed is zero before the Lease was taken; transitions are those with which it was.
	renewed     time.Time
	transitions int
	ended       bool
	// refused is why the last renewal failed; nil where it did not.
	refused error
}

// Create implements resourcelock.Interface.
func (t *term) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return t.write(ctx, record, t.Interface.Create, true)
}

// Update implements resourcelock.Interface.
func (t *term) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return t.write(ctx, record, t.Interface.Update, false)
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
	err := do(ctx, record)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused = err; err == nil {
		t.renewed, t.transitions = sent, record.LeaderTransitions
	}
	return err
}

// loss is ErrLost, with why the Lease could not be renewed where that is known.
func (t *term) loss() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refused == nil {
		return ErrLost
	}
	return fmt.Errorf("%w: %w", ErrLost, t.refused)
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
			if t.overdue(time.Now()) {
				t.end()
			}
		}
	}
}

// giveUp lets others have the Lease at once, where it is still held. One that is out of reach runs out. Nobody renews it by
// now.
func (t *term) giveUp(ctx context.Context) {
	if !t.taken() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.duration*2/3)
	defer cancel()
	if record, _, err := t.Get(ctx); err == nil && record.HolderIdentity == t.Identity() {
		now := metav1.Now()
		_ = t.Interface.Update(ctx, resourcelock.LeaderElectionRecord{
			LeaseDurationSeconds: 1, LeaderTransitions: record.LeaderTransitions, AcquireTime: now, RenewTime: now,
		})
	}
}

func (t *term) taken() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.renewed.IsZero()
}

// takenOver asks whether somebody else has the Lease, or has had it. It is read apart from those who renew it.
func (t *term) takenOver(ctx context.Context) (bool, error) {
	lease, err := t.leases.Get(ctx, t.name, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	record := resourcelock.LeaseSpecToLeaderElectionRecord(&lease.Spec)
	t.mu.Lock()
	defer t.mu.Unlock()
	return record.LeaderTransitions != t.transitions || record.HolderIdentity != "" && record.HolderIdentity != t.Identity(), nil
}
