package failover_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// said is what a run says of a step.
func said(run *v1alpha1.Failover, step failover.StepName) string {
	for _, s := range run.Status.Steps {
		if s.Name == string(step) {
			return s.Message
		}
	}
	return ""
}

// frozen is why the cell-1 is frozen or not, as the Cell says.
func (b *bed) frozen() string {
	b.t.Helper()
	cell, err := b.client.Cells().Get(b.t.Context(), "cell-1", metav1.GetOptions{})
	b.must(err)
	condition := meta.FindStatusCondition(cell.Status.Conditions, v1alpha1.ConditionFrozen)
	if condition == nil || condition.Status != metav1.ConditionFalse {
		b.t.Fatalf("cell-1 says of its freeze %+v; want that it is not frozen", condition)
	}
	return condition.Reason
}

// guarded runs a guard until it says of cell-1 that it cannot be frozen.
func (b *bed) guarded() {
	b.t.Helper()
	cell, err := b.client.Cells().Get(b.t.Context(), "cell-1", metav1.GetOptions{})
	b.must(err)
	meta.SetStatusCondition(&cell.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionFrozen, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonFreezeUnreachable, // as of one that was dead
	})
	_, err = b.client.Cells().UpdateStatus(b.t.Context(), cell, metav1.UpdateOptions{})
	b.must(err)
	ctx, stop := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&failover.Guard{RCP: b.rcp, Logger: quiet()}).Watch(ctx) }()
	defer func() {
		stop()
		b.must(<-ended)
	}()
	b.await("the guard to say that the cell cannot be frozen", func() bool { return b.frozen() == v1alpha1.ReasonFreezeUnsupported })
}

// unfrozen wants nothing of a freeze to be in cell-1, and anybody's write to be taken there.
func (b *bed) unfrozen() {
	b.t.Helper()
	found, err := fence.CheckFrozen(b.t.Context(), b.configs["cell-1"])
	b.must(err)
	if found.State != fence.Missing || len(found.Differences) != 3 {
		b.t.Errorf("of a freeze there lacks %s; want the policy, its binding and its mark to be missing", found)
	}
}

// before calls do, once, before a deletion of a config map is sent to cell-1.
func before(name string, do func()) func(string, *rest.Config) {
	var once sync.Once
	return func(cell string, config *rest.Config) {
		if cell != "cell-1" {
			return
		}
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/configmaps/"+name) {
					once.Do(do)
				}
				return next.RoundTrip(r)
			})
		})
	}
}

// TestACellThatCannotBeFrozen is failed over and comes back all the same. That it cannot be is said wherever it would have
// been, and nothing is left half frozen. What is written into it while it is compared is compared as well, and saved.
func TestACellThatCannotBeFrozen(t *testing.T) {
	b := newBed(t)
	ours, others := b.fill(4)
	b.backUp(ours...)
	sandboxtest.Reach(t, b.rcp, "cell-1", b.configs["cell-1"], sandboxtest.Unfenced(t, b.configs["cell-1"]))
	const why = "the apiserver does not serve ValidatingAdmissionPolicy"

	drill := b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1", Drill: true}).Name, v1alpha1.FailoverSucceeded)
	if got, want := said(drill, failover.StepFreeze), "the cell answers, and would not be frozen: "+why; got != want {
		t.Errorf("a drill says %q; want %q", got, want)
	}
	run := b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1", Force: true}).Name, v1alpha1.FailoverSucceeded)
	if got, want := said(run, failover.StepFreeze), "the cell is not frozen: "+why; got != want {
		t.Errorf("the failover says %q; want %q", got, want)
	}
	if got := b.frozen(); got != v1alpha1.ReasonFreezeUnsupported {
		t.Errorf("the Cell says %s", got)
	}
	b.unfrozen()
	b.usable("cell-1", "1", ours...)
	b.guarded()
	b.unfrozen()

	direct := configMaps{b, b.cells["cell-1"]}
	diverged, late := ours[0], ours[1]
	b.must(direct.set(diverged, "cell"))
	f := &failover.Failback{
		RCP: b.rcp, Identity: fmt.Sprint("it-", time.Now().UnixNano()), LeaseDuration: steadyLease, Cell: "cell-1", Dir: t.TempDir(), Host: "here", Logger: quiet(),
		WrapCell: before(late, func() {
			if err := direct.set(late, "late"); err != nil {
				t.Error(err)
			}
		}),
		Step: func(step failover.StepName) {
			if step != failover.StepCompare {
				return
			}
			if _, err := direct.create("later", "cell"); err != nil {
				t.Error(err)
			}
		},
	}
	ctx, cancel := contextWithTimeout(t, patience)
	defer cancel()
	back, err := f.Run(ctx)
	b.must(err)
	if got := said(back, failover.StepCompare); !strings.HasSuffix(got, "; the cell is not frozen: "+why) {
		t.Errorf("the failback says %q; want that the cell is not frozen", got)
	}
	if got := b.frozen(); got != v1alpha1.ReasonThawed {
		t.Errorf("afterwards the Cell says %s", got)
	}
	want := []string{diverged + " Diverged", late + " Diverged", "later OnlyHere"}
	slices.Sort(want)
	if got := b.kept(back); !slices.Equal(got, want) {
		t.Errorf("kept are %v; want %v", got, want)
	}
	b.saved(f.Dir, diverged, "cell", "1!")
	b.saved(f.Dir, late, "late", "1!")
	b.saved(f.Dir, "later", "cell", "")
	if _, err := direct.get("later"); !apierrors.IsNotFound(err) {
		t.Errorf("what only the cell has is there: %v", err)
	}
	b.rejoined(append(slices.Clone(ours), others...), ours)
}
