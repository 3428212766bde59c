package robustness

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// fault is one way to break something.
type fault string

const (
	killDriver    fault = "kill"    // kill -9 of the driver; another one follows
	suspendDriver fault = "suspend" // SIGSTOP of the driver until another one has taken over, and SIGCONT
	restartRouter fault = "router"  // SIGTERM, and a new one
	crashRouter   fault = "crash"   // kill -9, and a new one
	stopRouter    fault = "stop"    // SIGSTOP, and SIGCONT after two or six seconds
	restartCell   fault = "cell"    // kill -9 of an apiserver with its etcd, and a new one
	pauseRun      fault = "pause"   // and resume after a second
	abortRun      fault = "abort"   // and begin again when all is back
	bypass        fault = "direct"  // a writer at the cells, all the time, and several writes at once at a step
	// random is a fault every few seconds beside those at steps.
	random fault = "random"
	// backedUp has a backup daemon keep envelopes, and take over runs whose driver was killed.
	backedUp fault = "backup"
)

// anyTime stands in a plan for the moments between steps.
const anyTime = "any time"

// atSteps are the faults that can happen at a step.
func atSteps() []fault {
	return []fault{killDriver, suspendDriver, restartRouter, crashRouter, stopRouter, restartCell, pauseRun, bypass, abortRun}
}

const (
	// shortStop and longStop are how long a router is stopped, the one or the other. A driver waits for three seconds until
	// it opens units to writes again that the router has not acknowledged.
	shortStop = 2 * time.Second
	longStop  = 6 * time.Second
	pauseFor  = time.Second
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
	switch f {
	case restartRouter, crashRouter:
		router := b.anyRouter()
		signal := map[fault]syscall.Signal{restartRouter: syscall.SIGTERM, crashRouter: syscall.SIGKILL}[f]
		b.end(router.LockPath, signal)
		meanwhile()
		b.start(router)
	case stopRouter:
		wake := b.stop()
		meanwhile()
		wake()
	case restartCell:
		cells := b.allCells()
		cell := cells[b.random.IntN(len(cells))].name
		b.box.Kill(b.t, cell)
		meanwhile()
		b.box.Start(b.t, cell)
	default:
		meanwhile()
	}
}

// stopBeside stops a router and returns, so that the driver is answered at all steps that it takes for want of that one.
// Nothing else is broken until the router goes on.
func (b *breaker) stopBeside(beside *sync.WaitGroup, meanwhile func()) {
	b.mu.Lock()
	wake := b.stop()
	meanwhile()
	beside.Go(func() {
		defer b.mu.Unlock()
		wake()
	})
}

// stop stops a router; wake waits and lets it go on. mu is held.
func (b *breaker) stop() (wake func()) {
	router, lasts := b.anyRouter(), []time.Duration{shortStop, longStop}[b.random.IntN(2)]
	b.t.Logf("%6.2fs %s is stopped for %s", float64(b.record.Now())/1e9, router.Name, lasts)
	b.signal(router.LockPath, syscall.SIGSTOP)
	return func() {
		sleep(b.t.Context(), lasts)
		b.signal(router.LockPath, syscall.SIGCONT)
	}
}

// anyRouter draws one. mu is held.
func (b *breaker) anyRouter() daemon.Spec { return b.routers[b.random.IntN(len(b.routers))] }

// atRandom breaks something every few seconds until ctx ends, and counts what happened. What is not in hands is the
// breaker's own.
func (b *breaker) atRandom(ctx context.Context, faults []fault, hands map[fault]func() bool, happened map[fault]int) {
	for {
		b.mu.Lock()
		wait, f := time.Duration(b.random.Int64N(int64(calm))), faults[b.random.IntN(len(faults))]
		b.mu.Unlock()
		if sleep(ctx, wait); ctx.Err() != nil {
			return
		}
		b.t.Logf("%6.2fs at random: %s", float64(b.record.Now())/1e9, f)
		do, is := hands[f]
		if !is {
			b.do(f, func() {})
		}
		if !is || do() {
			happened[f]++
		}
	}
}

// pause stops the run, until it is resumed; it is false for one that has ended, or is paused already.
func (b *breaker) pause(run string) bool {
	return !b.wish(run).Paused && b.asked("pause", rebalance.Pause(b.t.Context(), b.client, run))
}

// resume may come when the run has ended, or walks back and goes on already.
func (b *breaker) resume(run string) {
	b.asked("resume", rebalance.Resume(b.t.Context(), b.client, run, rebalance.ResumeOptions{}))
}

// abort makes the run walk back; it is false for one that has ended, is past recall, or was aborted before.
func (b *breaker) abort(run string) bool {
	return !b.wish(run).Abort && b.asked("abort", rebalance.Abort(b.t.Context(), b.client, run))
}

// wish is what was asked of the run so far.
func (b *breaker) wish(run string) v1alpha1.RebalanceSpec {
	found, err := b.client.Rebalances().Get(b.t.Context(), run, metav1.GetOptions{})
	if err != nil {
		b.t.Errorf("read %s: %v", run, err)
		return v1alpha1.RebalanceSpec{}
	}
	return found.Spec
}

// asked says whether a run took what was asked of it. That it refuses is no failure.
func (b *breaker) asked(what string, err error) bool {
	if err != nil && !refused(err) {
		b.t.Errorf("%s: %v", what, err)
	}
	return err == nil
}

// refused says whether a run was past what was asked of it.
func refused(err error) bool {
	var e *exit.Error
	return errors.As(err, &e) && e.Code == exit.Refused
}
