package robustness

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// fault is one way to break something.
type fault string

const (
	killDriver    fault = "kill"   // kill -9 of the driver; another one follows
	restartRouter fault = "router" // SIGTERM, and a new one
	crashRouter   fault = "crash"  // kill -9, and a new one
	stopRouter    fault = "stop"   // SIGSTOP, and SIGCONT after two seconds
	restartCell   fault = "cell"   // kill -9 of an apiserver with its etcd, and a new one
	pauseRun      fault = "pause"  // and resume after a second
	abortRun      fault = "abort"  // and begin again when all is back
	bypass        fault = "direct" // a writer at the cells, all the time, and several writes at once at a step
	// random is a fault every few seconds beside those at steps.
	random fault = "random"
	// backedUp has a backup daemon keep envelopes, and take over runs whose driver was killed.
	backedUp fault = "backup"
)

// atSteps are the faults that can happen at a step.
func atSteps() []fault {
	return []fault{killDriver, restartRouter, crashRouter, stopRouter, restartCell, pauseRun, bypass, abortRun}
}

const (
	stopFor  = 2 * time.Second
	pauseFor = time.Second
	// calm is the longest time between two random faults.
	calm = 12 * time.Second
)

// breaker breaks things, one at a time, and mends them.
type breaker struct {
	*bed
	mu     sync.Mutex // held while something is broken
	random *rand.Rand // guarded by mu
}

// do breaks one thing that is no matter of the driver, and mends it. meanwhile is called while it is broken.
func (b *breaker) do(f fault, meanwhile func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	router := b.routers[b.random.IntN(len(b.routers))]
	cells := b.allCells()
	cell := cells[b.random.IntN(len(cells))].name
	switch f {
	case restartRouter, crashRouter:
		signal := map[fault]syscall.Signal{restartRouter: syscall.SIGTERM, crashRouter: syscall.SIGKILL}[f]
		b.end(router.LockPath, signal)
		meanwhile()
		b.start(router)
	case stopRouter:
		b.signal(router.LockPath, syscall.SIGSTOP)
		meanwhile()
		sleep(b.t.Context(), stopFor)
		b.signal(router.LockPath, syscall.SIGCONT)
	case restartCell:
		b.box.Kill(b.t, cell)
		meanwhile()
		b.box.Start(b.t, cell)
	default:
		meanwhile()
	}
}

// atRandom breaks something every few seconds until ctx ends.
func (b *breaker) atRandom(ctx context.Context, faults []fault, kill func()) {
	for {
		b.mu.Lock()
		wait, f := time.Duration(b.random.Int64N(int64(calm))), faults[b.random.IntN(len(faults))]
		b.mu.Unlock()
		if sleep(ctx, wait); ctx.Err() != nil {
			return
		}
		b.t.Logf("%6.2fs at random: %s", float64(b.record.Now())/1e9, f)
		if f == killDriver {
			kill()
		} else {
			b.do(f, func() {})
		}
	}
}

// pause stops the run for a moment; what cannot be paused any more has ended.
func (b *breaker) pause(run string) {
	if err := rebalance.Pause(b.t.Context(), b.client, run); err != nil && !refused(err) {
		b.t.Errorf("pause: %v", err)
	}
}

func (b *breaker) resume(run string) {
	if err := rebalance.Resume(b.t.Context(), b.client, run, rebalance.ResumeOptions{}); err != nil && !refused(err) {
		b.t.Errorf("resume: %v", err)
	}
}

func (b *breaker) abort(run string) {
	if err := rebalance.Abort(b.t.Context(), b.client, run); err != nil && !refused(err) {
		b.t.Errorf("abort: %v", err)
	}
}

// refused says whether a run was past what was asked of it.
func refused(err error) bool {
	var e *exit.Error
	return errors.As(err, &e) && e.Code == exit.Refused
}

func parseFaults(s string) []fault {
	var out []fault
	for word := range strings.SplitSeq(s, ",") {
		if word != "" {
			out = append(out, fault(word))
		}
	}
	return out
}
