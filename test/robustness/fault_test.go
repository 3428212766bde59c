package robustness

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/migration"
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
	// bypass is a writer at the cells all the time, random a fault every few seconds beside those at steps.
	bypass fault = "direct"
	random fault = "random"
)

// atSteps are the faults that can happen at a step.
func atSteps() []fault {
	return []fault{killDriver, restartRouter, crashRouter, stopRouter, restartCell, pauseRun, abortRun}
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

// do breaks one thing that is no matter of the driver, and mends it.
func (b *breaker) do(f fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	router := b.routers[b.random.IntN(len(b.routers))]
	cells := b.allCells()
	cell := cells[b.random.IntN(len(cells))].name
	switch f {
	case restartRouter, crashRouter:
		signal := map[fault]syscall.Signal{restartRouter: syscall.SIGTERM, crashRouter: syscall.SIGKILL}[f]
		b.end(router.LockPath, signal)
		b.start(router)
	case stopRouter:
		b.signal(router.LockPath, syscall.SIGSTOP)
		sleep(b.t.Context(), stopFor)
		b.signal(router.LockPath, syscall.SIGCONT)
	case restartCell:
		b.end(b.dir(cell)+"/lock", syscall.SIGKILL)
		b.startCell(cell)
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
			b.do(f)
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

// planOf chooses which fault happens at which named step. round turns the faults, so that as many runs as there are
// faults have each of them at each step. An abort is once in a plan: what follows it, happens on another way.
func planOf(r *rand.Rand, faults []fault, steps, round int) map[string]fault {
	faults = slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return !slices.Contains(atSteps(), f) })
	names := stepNames()
	if len(faults) == 0 {
		return nil
	}
	at := r.Perm(len(names))
	if steps == 0 || steps > len(names) {
		steps = len(names)
	}
	plan, aborted := map[string]fault{}, false
	for n, i := range at[:steps] {
		f := faults[(i+round)%len(faults)]
		if steps < len(names) {
			f = faults[(n+round)%len(faults)]
		}
		if f == abortRun && aborted {
			f = killDriver
		}
		aborted = aborted || f == abortRun
		plan[names[i]] = f
	}
	return plan
}

// stepNames are the named steps of a run and of the units in it, on their way there and back.
func stepNames() []string {
	var out []string
	for _, step := range rebalance.StepNames() {
		out = append(out, string(step))
	}
	for _, step := range migration.StepNames() {
		out = append(out, string(step))
	}
	return out
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
