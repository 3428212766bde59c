package mirror

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubecell/kubectl-cell/pkg/pause"
)

// Limits of a pace, in requests a second.
const (
	fastest = 600
	atFirst = 300
	slowest = 5
	// climb is by how much a cell that answers well is asked more, each second of asking.
	climb = 20
	// burst is how many requests may be made at once after a pause.
	burst = 16
	// slow is how long a write takes in a cell that has too much to do.
	slow = time.Second
	// calm is the time between two slow-downs: what was asked before the first says nothing new.
	calm = 500 * time.Millisecond
)

// pace bounds how many requests a second are made of one cell. The bound rises slowly while the cell answers well, and is
// halved at once when the cell refuses with 429, fails, or takes long. It may be used by many goroutines at once.
type pace struct {
	now func() time.Time

	mu     sync.Mutex // guards what follows
	rate   float64
	next   time.Time // when the next request may be made
	slowed time.Time // when the rate was lowered last
}

func newPace(now func() time.Time) *pace { return &pace{now: now, rate: atFirst} }

// reserve is how long to wait before the next request.
func (p *pace) reserve() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	interval := time.Duration(float64(time.Second) / p.rate)
	if earliest := now.Add(-burst * interval); p.next.Before(earliest) {
		p.next = earliest
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(interval)
	return max(wait, 0)
}

// wait returns when a request may be made; the error is that of ctx.
func (p *pace) wait(ctx context.Context) error {
	delay := p.reserve()
	if delay == 0 {
		return ctx.Err()
	}
	if pause.For(ctx, delay) != nil {
		return ctx.Err()
	}
	return nil
}

// observe learns from an answer.
func (p *pace) observe(took time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seconds, overloaded := overload(err)
	if !overloaded && took < slow {
		p.rate = min(p.rate+climb/p.rate, fastest)
		return
	}
	now := p.now()
	if hold := now.Add(time.Duration(seconds) * time.Second); hold.After(p.next) {
		p.next = hold
	}
	if now.Sub(p.slowed) < calm {
		return
	}
	p.rate, p.slowed = max(p.rate/2, slowest), now
}

// current is the rate now.
func (p *pace) current() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate
}

// overload says whether an error means that the cell has too much to do, and for how many seconds it wants to be left
// alone.
func overload(err error) (seconds int, overloaded bool) {
	if err == nil {
		return 0, false
	}
	if after, told := apierrors.SuggestsClientDelay(err); told {
		return after, true
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return 0, code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
	}
	return 0, true // no answer at all
}
