package failover_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// weigh gives cell-1 another weight in the wanted ring.
func (b *bed) weigh(weight int32) {
	b.t.Helper()
	_, err := federation.SetWeight(b.t.Context(), b.rcp, "cell-1", weight, federation.Options{})
	b.must(err)
}

// wants wants cell-1 to be in the wanted ring with a weight; 0 for not to be.
func (b *bed) wants(weight int32) {
	b.t.Helper()
	if got := federation.Weight(&b.ring().Spec.RingLayout, "cell-1"); got != weight {
		b.t.Errorf("cell-1 is wanted with weight %d, want %d", got, weight)
	}
}

// TestAFenceThatIsTakenBackLateLeavesTheWantedRing as it was: the run had gone as far as that the cell was not wanted any more.
func TestAFenceThatIsTakenBackLateLeavesTheWantedRing(t *testing.T) {
	for name, test := range map[string]struct {
		dies, drained bool
		want          int32
	}{
		"the driver goes on":                  {false, false, 70},
		"another driver does":                 {true, false, 70},
		"the cell was drained in that moment": {false, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			ours, _ := b.fill(2)
			b.backUp(ours...)
			b.weigh(70)
			_, backup := b.owner(ours[0])
			run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1", Force: true})
			d, ctx, kill := b.driver()
			var armed, fired atomic.Bool
			d.Step = func(s failover.StepName) { armed.Store(s == failover.StepFreeze) }
			drain := sync.OnceFunc(b.drain)
			d.RCP.Wrap(func(next http.RoundTripper) http.RoundTripper {
				return roundTrip(func(r *http.Request) (*http.Response, error) {
					switch {
					case r.Method != http.MethodPut:
					case strings.HasSuffix(r.URL.Path, "/rings/default") && test.drained:
						drain()
					case strings.HasSuffix(r.URL.Path, "/rings/default/status") && armed.Load() && fired.CompareAndSwap(false, true):
						b.wants(0)
						name := envelope.Name("", "configmaps", b.namespace, ours[0])
						b.must(b.cells[backup].CoreV1().Secrets(v1alpha1.Namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
						if test.dies {
							kill()
						}
						return nil, errors.New("the ring cannot be written")
					}
					return next.RoundTrip(r)
				})
			})
			_, err := d.Run(ctx, run.Name)
			if test.dies {
				b.freeLease()
				second, ctx, _ := b.driver()
				_, err = second.Run(ctx, run.Name)
			}
			if exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), "the fence is taken back") || !fired.Load() {
				t.Fatalf("it ended with %v, want a refusal", err)
			}
			if s := b.ring().Status; len(s.Unavailable) > 0 || len(s.Current.Members) != 3 {
				t.Errorf("the ring is not as it was: %+v", s)
			}
			b.wants(test.want)
		})
	}
}

// drain takes cell-1 out of the wanted ring, as an administrator does.
func (b *bed) drain() {
	_, err := federation.Drain(b.t.Context(), b.rcp, "cell-1", federation.Options{})
	b.must(err)
}

// TestAFenceThatIsTakenBackLeavesADrainedCellDrained: it was the administrator who took it out of the wanted ring, and not the run,
// which had not gone that far.
func TestAFenceThatIsTakenBackLeavesADrainedCellDrained(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1", Force: true})
	d, ctx, _ := b.driver()
	drain := sync.OnceFunc(b.drain)
	d.Step = func(s failover.StepName) {
		switch s {
		case failover.StepPreflight:
			b.must(b.maps().set(ours[0], "2"))
		case failover.StepFence: // that it is taken back is such a step as well
			drain()
		}
	}
	if _, err := d.Run(ctx, run.Name); exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), "the fence is taken back") {
		t.Fatalf("it ended with %v, want a refusal", err)
	}
	b.wants(0)
}

// TestACellComesBackWithTheWeightThatItHad though the failback is cut off in the moment in which the cell joins.
func TestACellComesBackWithTheWeightThatItHad(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	b.weigh(70)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	b.gates["cell-1"].Pass()
	dir := t.TempDir()
	ctx, kill := contextWithTimeout(t, patience)
	defer kill()
	cut := &failover.Failback{RCP: rest.CopyConfig(b.rcp), Identity: "cut", LeaseDuration: steadyLease, Cell: "cell-1", Dir: dir, Host: "here", Logger: quiet()}
	cut.RCP.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/rings/default") {
				kill()
			}
			return answer, err
		})
	})
	if _, err := cut.Run(ctx); err == nil {
		t.Fatal("it was not cut off")
	}
	b.freeLease()
	whole := *cut
	whole.RCP = b.rcp
	run, err := whole.Run(t.Context())
	b.must(err)
	if run.Status.Phase != v1alpha1.FailoverSucceeded {
		t.Errorf("it ended %+v", run.Status)
	}
	b.wants(70)
}

// TestACellThatIsWantedAllTheSameComesBack: whoever applies the wanted ring has put it there before it was compared. Nobody can do
// that by a command.
func TestACellThatIsWantedAllTheSameComesBack(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	b.gates["cell-1"].Pass()
	for name, change := range map[string]func() (federation.RingChange, error){
		"undrain": func() (federation.RingChange, error) {
			return federation.Undrain(t.Context(), b.rcp, "cell-1", federation.Options{})
		},
		"weight": func() (federation.RingChange, error) {
			return federation.SetWeight(t.Context(), b.rcp, "cell-1", 50, federation.Options{})
		},
	} {
		if _, err := change(); exit.CodeOf(err) != exit.Refused || !strings.Contains(exit.HintOf(err, exit.Plugin), "failback cell-1") {
			t.Errorf("%s: %v; want a refusal that names failback", name, err)
		}
	}
	b.wants(0)
	ring := b.ring()
	ring.Spec.Members = append(ring.Spec.Members, v1alpha1.RingMember{Cell: "cell-1", Weight: 60})
	_, err := b.client.Rings().Update(t.Context(), ring, metav1.UpdateOptions{})
	b.must(err)
	direct := configMaps{b, b.cells["cell-1"]}
	_, err = direct.create("alone", "cell")
	b.must(err)
	f := &failover.Failback{RCP: b.rcp, Identity: "it", LeaseDuration: steadyLease, Cell: "cell-1", Dir: t.TempDir(), Host: "here", Logger: quiet()}
	run, err := f.Run(t.Context())
	b.must(err)
	if run == nil || run.Status.Phase != v1alpha1.FailoverSucceeded {
		t.Fatalf("it ended as %+v", run)
	}
	if s := b.ring().Status; len(s.Unavailable) > 0 {
		t.Errorf("the ring is %+v", s)
	}
	b.wants(60)
	b.saved(f.Dir, "alone", "cell", "")
	b.must(b.maps().set(ours[0], "2"))
	if _, err := direct.create("direct", "1"); err != nil {
		t.Errorf("a write to the cell: %v; want that it is thawed", err)
	}
}

// TestACellWhoseFailoverHasNoRecordIsNotEmptied: it is fenced off, and what it has counts.
func TestACellWhoseFailoverHasNoRecordIsNotEmptied(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	ring := b.ring()
	ring.Status.Unavailable = []string{"cell-1"}
	_, err := b.client.Rings().UpdateStatus(t.Context(), ring, metav1.UpdateOptions{})
	b.must(err)
	f := &failover.Failback{RCP: b.rcp, Identity: "it", LeaseDuration: steadyLease, Cell: "cell-1", Dir: t.TempDir(), Host: "here", Logger: quiet()}
	if run, err := f.Run(t.Context()); exit.CodeOf(err) != exit.Refused || !strings.Contains(err.Error(), "has not ended") {
		t.Errorf("%v, %v; want a refusal", run, err)
	}
	for _, name := range ours {
		if _, err := (configMaps{b, b.cells["cell-1"]}).get(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
