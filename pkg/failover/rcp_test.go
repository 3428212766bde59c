package failover_test

import (
	"context"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestTheRCPGoesAwayInTheMiddle: nothing new begins, requests bring objects back all the same, and the run ends by itself
// when the RCP is there again.
func TestTheRCPGoesAwayInTheMiddle(t *testing.T) {
	b := newBed(t)
	gate := b.rcpThroughGate()
	ours, _ := b.fill(4)
	b.backUp(ours...)
	b.dies("cell-1")
	name := b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name
	d, ctx, _ := b.driver()
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	away := make(chan struct{})
	d.Step = func(step failover.StepName) {
		if step == failover.StepRing {
			b.await("the router to use the ring without the cell", func() bool {
				_, err := b.maps().get(ours[0])
				return err == nil
			})
			gate.Vanish()
			close(away)
		}
	}
	type result struct {
		run *v1alpha1.Failover
		err error
	}
	ended := make(chan result, 1)
	go func() {
		run, err := d.Run(ctx, name)
		ended <- result{run, err}
	}()
	<-away
	if _, err := failover.Start(t.Context(), b.rcp, v1alpha1.FailoverSpec{Cell: "cell-2"}, false); err == nil || !strings.Contains(err.Error(), "the router control plane does not answer") {
		t.Errorf("an order that reaches no RCP: %v", err)
	}
	if err := b.maps().set(ours[1], "2"); err != nil {
		t.Errorf("a write of what is not promoted yet: %v", err)
	}
	select {
	case r := <-ended:
		t.Fatalf("the run ended without the RCP: %+v", r)
	default:
	}
	gate.Pass()
	if r := <-ended; r.err != nil || r.run.Status.Phase != v1alpha1.FailoverSucceeded {
		t.Fatalf("the run ended with %+v", r)
	}
	b.usable("cell-1", "1", ours[0], ours[2], ours[3])
	b.usable("cell-1", "2", ours[1])
}

// rcpThroughGate has everybody reach the RCP by way of a gate.
func (b *bed) rcpThroughGate() *sandboxtest.Gate {
	b.t.Helper()
	gate := sandboxtest.NewGate(b.t, b.rcp.Host)
	b.rcp = rest.CopyConfig(b.rcp)
	b.rcp.Host = gate.URL()
	b.must(b.stop())
	b.router = kubeOf(b.t, b.startRouter())
	return gate
}
