package failover_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// at is the way to the control plane behind a gate.
func at(gate *sandboxtest.Gate, config *rest.Config) *rest.Config {
	out := rest.CopyConfig(config)
	out.Host = gate.URL()
	return out
}

// TestAFreezeWaitsForEveryApiserver of a cell, and so does a thaw. One of the apiservers learns of either later, as does
// one that is slow with its watch of policies: it is another control plane, and the test tells it.
func TestAFreezeWaitsForEveryApiserver(t *testing.T) {
	b := newBed(t)
	first, late := b.configs["cell-1"], b.configs["cell-2"]
	gone, hung := sandboxtest.NewGate(t, first.Host), sandboxtest.NewGate(t, first.Host)
	gone.Vanish()
	hung.Hang()
	all := []*rest.Config{at(gone, first), first, late, at(hung, first)}
	ctx, cancel := contextWithTimeout(t, patience)
	defer cancel()

	frozen := make(chan failover.Frozen, 1)
	go func() { frozen <- failover.Freeze(ctx, first, all...) }()
	b.must(fence.AwaitFrozen(ctx, first))
	wantWaiting(t, frozen)
	if _, err := fence.Freeze(ctx, late); err != nil {
		t.Fatal(err)
	}
	state := <-frozen
	b.must(inForce(ctx, late, asksFrozen, fence.AwaitFrozen))
	if !state.InForce() || !strings.Contains(state.Message, gone.URL()) || !strings.Contains(state.Message, hung.URL()) || strings.Contains(state.Message, late.Host) {
		t.Errorf("the freeze: %+v; want it in force but for the two that do not answer", state)
	}

	thawed := make(chan error, 1)
	go func() { thawed <- failover.Thaw(ctx, first, all...) }()
	b.must(fence.AwaitThawed(ctx, first))
	wantWaiting(t, thawed)
	b.must(fence.Thaw(ctx, late))
	b.must(<-thawed)
	b.must(inForce(ctx, late, asksThawed, fence.AwaitThawed))
}

// wantWaiting wants nothing to come, for longer than an apiserver that does not answer is waited for.
func wantWaiting[T any](t *testing.T, ended <-chan T) {
	t.Helper()
	select {
	case got := <-ended:
		t.Fatalf("ended with %v though one apiserver did not know yet", got)
	case <-time.After(4 * time.Second):
	}
}

// Requests of the first attempt of fence.AwaitFrozen and of fence.AwaitThawed.
const (
	asksFrozen = 2
	asksThawed = 1
)

// inForce is nil where there was nothing to wait for any more: the first attempt, of so many requests, was the last.
func inForce(ctx context.Context, config *rest.Config, attempt int64, await func(context.Context, *rest.Config) error) error {
	var asked atomic.Int64
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counted{next, &asked} })
	if err := await(ctx, config); err != nil {
		return err
	}
	if n := asked.Load(); n > attempt {
		return fmt.Errorf("it took %d requests; want %d", n, attempt)
	}
	return nil
}

// TestACellWithoutAnApiserverThatAnswersIsNotFrozen in so many words, and thawing it fails.
func TestACellWithoutAnApiserverThatAnswersIsNotFrozen(t *testing.T) {
	b := newBed(t)
	config := b.configs["cell-1"]
	gone := sandboxtest.NewGate(t, config.Host)
	gone.Vanish()
	if state := failover.Freeze(t.Context(), config, at(gone, config)); state.Reason != v1alpha1.ReasonFreezeFailed || !strings.Contains(state.Message, "no apiserver of the cell answers") {
		t.Errorf("freeze: %+v", state)
	}
	if err := failover.Thaw(t.Context(), config, at(gone, config)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("thaw: %v; want that no apiserver answers", err)
	}
}

// TestAFailoverFreezesAtEveryEndpoint of the Cell that answers, and says at which ones it could not look.
func TestAFailoverFreezesAtEveryEndpoint(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	sandboxtest.FirstEndpointDown(t, b.rcp)
	cell, err := b.client.Cells().Get(t.Context(), "cell-1", metav1.GetOptions{})
	b.must(err)
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1", AcceptLoss: 100, Force: true}).Name, v1alpha1.FailoverSucceeded)
	b.must(inForce(t.Context(), b.configs["cell-1"], asksFrozen, fence.AwaitFrozen))
	down := cell.Spec.Endpoints[0]
	cell, err = b.client.Cells().Get(t.Context(), "cell-1", metav1.GetOptions{})
	b.must(err)
	for _, condition := range cell.Status.Conditions {
		if condition.Type == v1alpha1.ConditionFrozen && condition.Status == metav1.ConditionTrue && strings.Contains(condition.Message, down+" did not answer") {
			return
		}
	}
	t.Errorf("the conditions %+v do not say that %s did not answer", cell.Status.Conditions, down)
}

// TestNothingIsSaidOfACellThatIsAnotherOneByNow: a Cell is removed between being read and written to, and perhaps one of its
// name added. That ends no failover, and the new one was never frozen.
func TestNothingIsSaidOfACellThatIsAnotherOneByNow(t *testing.T) {
	b := newBed(t)
	const name = "cell-removed"
	cells := b.client.Cells()
	add := func() {
		_, err := cells.Create(t.Context(), &v1alpha1.Cell{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.CellSpec{KubeconfigSecretRef: v1alpha1.SecretReference{Name: "cell-" + name}},
		}, metav1.CreateOptions{})
		b.must(err)
	}
	remove := func() { b.must(cells.Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{})) }
	for what, again := range map[string]bool{"removed": false, "replaced": true} {
		add()
		config := rest.CopyConfig(b.rcp)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPatch {
					remove()
				}
				if r.Method == http.MethodPatch && again {
					add()
				}
				return next.RoundTrip(r)
			})
		})
		late, err := client.New(config)
		b.must(err)
		if err := failover.SayFrozen(t.Context(), late, name, failover.Frozen{Reason: v1alpha1.ReasonFreezeInForce}); err != nil {
			t.Errorf("of a Cell that was %s: %v", what, err)
		}
		if !again {
			continue
		}
		found, err := cells.Get(t.Context(), name, metav1.GetOptions{})
		b.must(err)
		if len(found.Status.Conditions) > 0 {
			t.Errorf("of the Cell that has the name now: %+v", found.Status.Conditions)
		}
		remove()
	}
}
