package rebalance_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// closedAtMost is how long a unit may refuse writes for a router that is silent, with some for a busy machine.
const closedAtMost = 20 * time.Second

// marks counts what a driver closes to writes.
func (d *driving) marks() *atomic.Int32 {
	n := &atomic.Int32{}
	d.UnitStep = func(s migration.Step) {
		if s.Name == migration.Marked {
			n.Add(1)
		}
	}
	return n
}

// closed are the objects that refuse writes.
func (b *bed) closed() (names []string) {
	b.t.Helper()
	for name, cells := range b.copies() {
		for cell, cm := range cells {
			if cm.Labels[v1alpha1.LabelRebalanceStatus] == string(v1alpha1.Migrating) {
				names = append(names, name+" in "+cell)
			}
		}
	}
	return names
}

// awaitOpen waits until a silent router is told of, and nothing is closed to writes for it.
func (b *bed) awaitOpen(name string) {
	b.t.Helper()
	b.await("all units to be opened", func() bool {
		c := apimeta.FindStatusCondition(b.rebalance(name).Status.Conditions, v1alpha1.ConditionRoutersAcknowledged)
		return c != nil && c.Status == metav1.ConditionFalse && strings.Contains(c.Message, "router-silent") && len(b.closed()) == 0
	})
}

// TestARouterThatDiesInTheMiddleClosesNothing has one die when units begin to move: what waits for it can be written, and
// whoever wants the run to stop is obeyed.
func TestARouterThatDiesInTheMiddleClosesNothing(t *testing.T) {
	for name, then := range map[string]func(b *bed, d *driving, run string, leave, forget func()){
		"it is forgotten": func(b *bed, d *driving, run string, _, forget func()) {
			b.must(rebalance.Pause(t.Context(), b.client, run))
			b.awaitPaused(run)
			b.must(rebalance.Resume(t.Context(), b.client, run, rebalance.ResumeOptions{}))
			forget()
			ended := b.finish(d, v1alpha1.RebalanceSucceeded)
			if len(ended.Status.Failures) != 0 || !apimeta.IsStatusConditionTrue(ended.Status.Conditions, v1alpha1.ConditionRoutersAcknowledged) {
				b.t.Errorf("in the end: failures %+v, conditions %+v", ended.Status.Failures, ended.Status.Conditions)
			}
		},
		"abort": func(b *bed, d *driving, run string, _, forget func()) {
			b.must(rebalance.Abort(t.Context(), b.client, run))
			b.await("the way back", func() bool { return b.ring().Status.Aborting })
			forget()
			b.finish(d, v1alpha1.RebalanceAborted)
		},
		"leave": func(b *bed, d *driving, run string, leave, forget func()) {
			leave()
			if r := <-d.result; !errors.Is(r.err, rebalance.ErrLeft) {
				b.t.Errorf("the driver ended with %v; want %v", r.err, rebalance.ErrLeft)
			}
			forget()
			next := b.driver("next")
			b.start(next, run)
			b.finish(next, v1alpha1.RebalanceSucceeded)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, before := growing(t, few)
			run := b.accepted(v1alpha1.RebalanceSpec{Window: 5}).Run.Name
			d := b.driver("it")
			leaving := make(chan struct{})
			d.Leaving = leaving
			marked := d.marks()
			forget := func() {}
			d.Step = func(at rebalance.StepName) {
				if at == rebalance.RebalancingAcknowledged && marked.Load() == 0 {
					forget = b.silentRouter()
				}
			}
			b.start(d, run)
			b.await("units to be marked", func() bool { return marked.Load() > 0 })
			since := time.Now()
			b.awaitOpen(run)
			if took := time.Since(since); took > closedAtMost {
				t.Errorf("units were closed to writes for %s", took)
			}
			then(b, d, run, func() { close(leaving) }, forget)
			if closed := b.closed(); len(closed) > 0 {
				t.Errorf("%v refuse writes", closed)
			}
			b.settled(before)
		})
	}
}

// TestADriverThatStopsOpensWhatItHasMarked without waiting for the routers: nobody may come after it.
func TestADriverThatStopsOpensWhatItHasMarked(t *testing.T) {
	b, before := growing(t, few)
	run := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	d := b.driver("it")
	ctx, stop := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	marked := d.marks()
	mark := d.UnitStep
	d.UnitStep = func(s migration.Step) {
		if mark(s); marked.Load() >= 5 {
			stop(stopped)
		}
	}
	var forget func()
	d.Step = func(at rebalance.StepName) {
		if at == rebalance.RebalancingAcknowledged {
			forget = b.silentRouter()
		}
	}
	if _, err := d.Run(ctx, run); !errors.Is(err, stopped) {
		t.Errorf("the driver ended with %v; want %v", err, stopped)
	}
	if closed := b.closed(); len(closed) > 0 || marked.Load() < 5 {
		t.Errorf("%v refuse writes, after %d marks", closed, marked.Load())
	}
	forget()
	next := b.driver("next")
	b.start(next, run)
	b.finish(next, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}

// TestASuccessorOpensWhatItFindsBegun while a router does not even acknowledge the phase; what is half moved goes on.
func TestASuccessorOpensWhatItFindsBegun(t *testing.T) {
	for _, step := range []migration.StepName{migration.Marked, migration.Flipped} {
		t.Run(string(step), func(t *testing.T) {
			b, before := growing(t, few)
			run := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
			b.killAt(run, string(step))
			if len(b.closed())+len(b.halfMoved()) == 0 || step == migration.Flipped && len(b.halfMoved()) == 0 {
				t.Fatalf("a driver that was killed left closed %v, half moved %v", b.closed(), b.halfMoved())
			}
			b.forgetLease()
			forget := b.silentRouter()
			second := b.driver("second")
			b.start(second, run)
			b.awaitOpen(run)
			b.await("what is half moved to go on", func() bool { return len(b.halfMoved()) == 0 })
			forget()
			b.finish(second, v1alpha1.RebalanceSucceeded)
			b.settled(before)
		})
	}
}

// TestASuccessorOpensWhatItCouldNotAtFirst: a cell fails the first attempt, while a router is silent.
func TestASuccessorOpensWhatItCouldNotAtFirst(t *testing.T) {
	b, before := growing(t, few)
	run := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
	b.killAt(run, string(migration.Marked))
	if len(b.closed()) == 0 {
		t.Fatal("a driver that was killed left nothing closed")
	}
	b.forgetLease()
	forget := b.silentRouter()
	second := b.driver("second")
	wrap := second.WrapCell
	var failed atomic.Bool
	second.WrapCell = func(name string, config *rest.Config) {
		wrap(name, config)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPatch && failed.CompareAndSwap(false, true) {
					return nil, errors.New("connection refused")
				}
				return next.RoundTrip(r)
			})
		})
	}
	b.start(second, run)
	b.awaitOpen(run)
	if !failed.Load() {
		t.Error("no cell has failed")
	}
	forget()
	b.finish(second, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}
