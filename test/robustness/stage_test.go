package robustness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/migration"
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
			other := func(m v1alpha1.RingMember, weight int32) {
				if m.Weight == weight {
					weight = placement.DefaultWeight // an earlier stage has changed it
				}
				_, err := federation.SetWeight(p.t.Context(), p.rcp, m.Cell, weight, federation.Options{})
				p.must(err)
			}
			other(members[0], placement.DefaultWeight*2)
			other(members[len(members)-1], placement.DefaultWeight/2)
		},
	}
}

// stage changes the ring and has drivers carry it out, until data is where the ring wants it.
func (p *proof) stage(name string, plan faultPlan) {
	p.t.Helper()
	p.here, p.spare = map[string]bool{}, len(plan[anyTime])
	stages()[name](p)
	p.t.Logf("%s %s, with %v", p.clock(), name, plan)
	for {
		run := p.begin()
		p.obstruct(plan)
		phase := p.conduct(run, plan)
		p.t.Logf("%s %s: %s is %s", p.clock(), name, run, phase)
		if p.aborted != "" && phase != v1alpha1.RebalanceAborted {
			p.t.Errorf("%s took an abort at %s, and is %s", run, p.aborted, phase)
		}
		p.aborted = ""
		if phase == v1alpha1.RebalanceSucceeded {
			break
		}
		if phase != v1alpha1.RebalanceAborted || p.t.Failed() {
			p.t.Fatalf("%s ended %s", run, phase)
		}
	}
	p.schedule.leave(plan)
	for step, left := range plan {
		if *stepsDisturbed > 0 && p.keeper == nil && len(left) > 0 {
			p.t.Errorf("%s: %v at %s was planned, and has not happened", name, left, step)
		}
	}
	for _, step := range stepNames() {
		// A daemon that has taken a run over does not wait at its steps.
		if *stepsDisturbed == 0 && !p.here[step] && p.keeper == nil {
			p.t.Errorf("%s: the run never came to %s", name, step)
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
func (p *proof) conduct(run string, plan faultPlan) v1alpha1.RebalancePhase {
	p.t.Helper()
	var mu sync.Mutex
	driver, suspend := p.drive(run), make(chan struct{}, 1)
	follow := func(next *child) {
		mu.Lock()
		defer mu.Unlock()
		driver = next
	}
	defer p.beside.Wait()
	stop := p.disturb(map[fault]func() bool{
		killDriver: func() bool {
			mu.Lock()
			defer mu.Unlock()
			return driver.killAwake()
		},
		suspendDriver: func() bool {
			select {
			case suspend <- struct{}{}:
			default: // it is to be already
			}
			return false // not yet
		},
		pauseRun: func() bool {
			if !p.breaker.pause(run) {
				return false
			}
			sleep(p.t.Context(), pauseFor)
			p.breaker.resume(run)
			return true
		},
		abortRun: func() bool {
			if p.spare == 0 || !p.breaker.abort(run) {
				return false
			}
			p.spare--
			return true
		},
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
				follow(p.answer(driver, run, line, plan))
			case p.phase(run).Final():
				p.backUp()
				return p.phase(run)
			default:
				p.handOver(run)
				follow(p.drive(run))
			}
		case <-suspend:
			next, suspended := p.suspend(run, driver)
			if follow(next); suspended {
				p.happened(anyTime, suspendDriver, 1)
			}
		case <-ctx.Done():
			driver.kill()
			p.t.Fatalf("%s did not end: it is %s, its failures %+v, its conditions %+v", run, p.phase(run), p.run(run).Status.Failures, p.run(run).Status.Conditions)
		}
	}
}

// disturb breaks things at random until the returned function is called, which counts them. What takes more than a signal is
// in hands.
func (p *proof) disturb(hands map[fault]func() bool) (stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	var breaking sync.WaitGroup
	happened := map[fault]int{} // breaking's, until that has ended
	if slices.Contains(p.faults, random) {
		faults := slices.DeleteFunc(stepFaults(p.faults), func(f fault) bool {
			return f == bypass || f == abortRun && p.spare == 0
		})
		if len(faults) > 0 {
			breaking.Go(func() { p.breaker.atRandom(ctx, faults, hands, happened) })
		}
	}
	return func() {
		cancel()
		breaking.Wait()
		for f, times := range happened {
			p.happened(anyTime, f, times)
		}
	}
}

// answer does at a step what is planned for it, or what leads to others, and lets the driver go on: in the middle of what
// is broken for a while. It returns the driver, which is another one where the first is suspended.
func (p *proof) answer(driver *child, run, line string, plan faultPlan) *child {
	if what, ok := strings.CutPrefix(line, scaleWord); ok {
		p.scaleBetween(what)
		driver.goOn(!p.here[string(migration.Updated)])
		return driver
	}
	step, ok := stepIn(line)
	if !ok {
		return driver
	}
	p.reached[step], p.here[step] = true, true
	p.stepAside(run)
	if len(plan[step]) == 0 || plan[step][0] == abortRun && p.breaker.wish(run).Abort {
		// What walks back is aborted already; the next run comes here as well.
		if !p.lead(driver, run, step, plan) {
			driver.goOn(p.wanted(step, plan))
		}
		return driver
	}
	f := plan[step][0]
	plan[step] = plan[step][1:]
	next, happened := p.breakAt(step, f, driver, run, plan)
	if happened {
		p.happened(step, f, 1)
	}
	return next
}

// happened counts in the run and in all runs.
func (p *proof) happened(at string, f fault, times int) {
	p.done.add(at, f, times)
	p.schedule.done.add(at, f, times)
}

// breakAt breaks something while the driver is at a step, and lets it go on. happened says that it did something; what did
// nothing is planned again.
func (p *proof) breakAt(step string, f fault, driver *child, run string, plan faultPlan) (next *child, happened bool) {
	p.t.Helper()
	p.t.Logf("%s at %s: %s", p.clock(), step, f)
	goOn := func() { driver.goOn(p.wanted(step, plan)) }
	happened = true
	again := func() {
		if !happened {
			p.t.Logf("%s at %s: %s did nothing", p.clock(), step, f)
			plan[step] = append(plan[step], f)
		}
	}
	switch f {
	case killDriver:
		driver.kill()
	case suspendDriver:
		next, happened = p.suspend(run, driver)
		again()
		return next, happened
	case abortRun:
		if happened = p.breaker.abort(run); happened {
			p.aborted = step
		}
		again()
		goOn()
	case pauseRun:
		happened = p.breaker.pause(run)
		again()
		goOn()
		if happened {
			sleep(p.t.Context(), pauseFor)
			p.breaker.resume(run)
		}
	case bypass:
		happened = p.bypassMoving() > 0
		again()
		goOn()
	case stopRouter:
		p.breaker.stopBeside(&p.beside, goOn)
	default:
		p.breaker.do(f, goOn)
	}
	return driver, happened
}

func (p *proof) run(name string) *v1alpha1.Rebalance {
	p.t.Helper()
	run, err := p.client.Rebalances().Get(p.t.Context(), name, metav1.GetOptions{})
	p.must(err)
	return run
}

func (p *proof) phase(run string) v1alpha1.RebalancePhase { return p.run(run).Status.Phase }
