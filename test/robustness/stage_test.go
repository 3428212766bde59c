package robustness

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// stages are the changes of the ring, by name.
func stages() map[string]func(*proof) {
	return map[string]func(*proof){
		"join": func(p *proof) {
			report, err := p.box.Manager.CellAdd(p.t.Context(), p.box.Name, "")
			p.must(err)
			p.follow(p.addCell(report.Cell))
		},
		"leave": func(p *proof) {
			_, err := federation.Drain(p.t.Context(), p.rcp, p.ring().Status.Current.Members[0].Cell, federation.Options{})
			p.must(err)
		},
		"weights": func(p *proof) {
			members := p.ring().Status.Current.Members
			_, err := federation.SetWeight(p.t.Context(), p.rcp, members[0].Cell, placement.DefaultWeight*2, federation.Options{})
			p.must(err)
			_, err = federation.SetWeight(p.t.Context(), p.rcp, members[len(members)-1].Cell, placement.DefaultWeight/2, federation.Options{})
			p.must(err)
		},
	}
}

// stage changes the ring and has drivers carry it out, until data is where the ring wants it.
func (p *proof) stage(name string, plan map[string]fault) {
	p.t.Helper()
	stages()[name](p)
	p.t.Logf("%s %s, with %v", p.clock(), name, plan)
	for {
		run := p.begin()
		phase := p.conduct(run, plan)
		p.t.Logf("%s %s: %s is %s", p.clock(), name, run, phase)
		if phase == v1alpha1.RebalanceSucceeded {
			break
		}
		if phase != v1alpha1.RebalanceAborted || p.t.Failed() {
			p.t.Fatalf("%s ended %s", run, phase)
		}
	}
	for _, step := range rebalanceSteps() {
		// A daemon that has taken a run over does not wait at its steps.
		if f, left := plan[step]; left && p.keeper == nil {
			p.t.Errorf("%s: the run never came to %s, where %s was to be", name, step, f)
		}
	}
}

func (p *proof) clock() string { return fmt.Sprintf("%6.2fs", float64(p.record.Now())/1e9) }

// begin accepts the wanted ring, and notes what will move.
func (p *proof) begin() string {
	p.t.Helper()
	snap, err := routing.Wanted(p.ring())
	p.must(err)
	for _, key := range p.keys {
		if at, ok := snap.Table.Lookup(placement.NamespacedName, namespace, nameOf(key)); ok && at.Moves() {
			p.moving[key] = true
		}
	}
	var started *rebalance.Started
	// A cell that was killed may refuse a whole window while it starts. Whoever runs this by hand resumes; here it has
	// to come to its end by itself.
	failures := int32(len(p.keys))
	p.await("a rebalance to be accepted", func() bool {
		started, err = rebalance.Start(p.t.Context(), p.rcp, rebalance.StartOptions{Spec: v1alpha1.RebalanceSpec{
			Window: int32(5 + p.breaker.random.IntN(20)), Rate: int32(*rate), Grace: p.grace(), MaxFailures: &failures,
		}})
		return err == nil
	})
	p.must(err)
	return started.Run.Name
}

// grace is none in every second run, so that tombstones go and come.
func (p *proof) grace() *metav1.Duration {
	if p.breaker.random.IntN(2) == 0 {
		return nil
	}
	return &metav1.Duration{Duration: time.Second}
}

// conduct has one driver after another at work until the run has ended, and breaks things as planned.
func (p *proof) conduct(run string, plan map[string]fault) v1alpha1.RebalancePhase {
	p.t.Helper()
	var mu sync.Mutex
	driver := p.drive(run)
	stop := p.disturb(func() {
		mu.Lock()
		defer mu.Unlock()
		driver.kill()
	})
	defer stop()
	ctx, cancel := context.WithTimeout(p.t.Context(), runPatience)
	defer cancel()
	for {
		select {
		case line, running := <-driver.lines:
			switch {
			case running:
				p.backUp()
				p.answer(driver, run, line, plan)
			case p.phase(run).Final():
				p.backUp()
				return p.phase(run)
			default:
				p.handOver(run)
				next := p.drive(run)
				mu.Lock()
				driver = next
				mu.Unlock()
			}
		case <-ctx.Done():
			driver.kill()
			p.t.Fatalf("%s did not end: it is %s, its failures %+v, its conditions %+v", run, p.phase(run), p.run(run).Status.Failures, p.run(run).Status.Conditions)
		}
	}
}

// disturb breaks things at random until the returned function is called.
func (p *proof) disturb(kill func()) (stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var breaking sync.WaitGroup
	if slices.Contains(p.faults, random) {
		faults := slices.DeleteFunc(slices.Clone(p.faults), func(f fault) bool {
			return !slices.Contains([]fault{killDriver, restartRouter, crashRouter, stopRouter, restartCell}, f)
		})
		breaking.Go(func() { p.breaker.atRandom(ctx, faults, kill) })
	}
	return func() { cancel(); breaking.Wait() }
}

// answer does at a step what is planned for it, once, and lets the driver go on: in the middle of what is broken for a
// while.
func (p *proof) answer(driver *child, run, line string, plan map[string]fault) {
	step, ok := stepIn(line)
	if !ok {
		return
	}
	f, planned := plan[step]
	if !planned || f == abortRun && p.ring().Status.Aborting {
		driver.goOn() // what walks back is aborted already; the next run comes here as well
		return
	}
	delete(plan, step)
	p.t.Logf("%s at %s: %s", p.clock(), step, f)
	p.done.add(step, f, 1)
	switch f {
	case killDriver:
		driver.kill()
	case abortRun:
		p.breaker.abort(run)
		driver.goOn()
	case pauseRun:
		p.breaker.pause(run)
		driver.goOn()
		sleep(p.t.Context(), pauseFor)
		p.breaker.resume(run)
	case bypass:
		p.bypassMoving()
		driver.goOn()
	default:
		p.breaker.do(f, driver.goOn)
	}
}

func (p *proof) run(name string) *v1alpha1.Rebalance {
	p.t.Helper()
	run, err := p.client.Rebalances().Get(p.t.Context(), name, metav1.GetOptions{})
	p.must(err)
	return run
}

func (p *proof) phase(run string) v1alpha1.RebalancePhase { return p.run(run).Status.Phase }
