package failover_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// TestWhatARouterHasSaidCounts though it is restarted, or has left, before it is asked again: what it has named is lost, and what
// it has deleted stays so.
func TestWhatARouterHasSaidCounts(t *testing.T) {
	for name, leaves := range map[string]bool{"it was restarted": false, "it has left": true} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			saved, lost, deleted := b.losing()
			run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1", AcceptLoss: int64(len(lost))})
			d, ctx, _ := b.driver()
			d.Step = func(s failover.StepName) {
				if s == failover.StepFence {
					b.another(leaves)
				}
			}
			ended, err := d.Run(ctx, run.Name)
			b.must(err)
			b.names(ended, lost, len(lost))
			b.usable("cell-1", "1", saved)
			if cm, err := b.maps().get(deleted); !apierrors.IsNotFound(err) {
				t.Errorf("%s, which was deleted: %v, %v; want that it is gone", deleted, cm, err)
			}
			said := strings.Join(ended.Status.Report.Warnings, "\n")
			if leaves != strings.Contains(said, "has left since it was asked first") {
				t.Errorf("warnings: %s", said)
			}
		})
	}
}

// TestWhatARouterHasNamedIsInTheRecord: other drivers go on with the run, one after the other, and have it from there; what the
// record has no room to name, as a number.
func TestWhatARouterHasNamedIsInTheRecord(t *testing.T) {
	for name, test := range map[string]struct {
		leaves bool
		room   int
	}{"it was restarted": {false, 2}, "it has left": {true, 2}, "it has no room for all names": {true, 1}} {
		leaves := test.leaves
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			saved, lost, _ := b.losing()
			run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1", AcceptLoss: int64(len(lost))})
			first, ctx, kill := b.driver()
			first.Step = func(s failover.StepName) {
				if s == failover.StepFence {
					b.another(leaves)
					kill()
				}
			}
			if _, err := first.Run(ctx, run.Name); err == nil {
				t.Fatal("the first driver was not killed")
			}
			before, err := b.client.Failovers().Get(t.Context(), run.Name, metav1.GetOptions{})
			b.must(err)
			before.Status.Report.LostKeys = before.Status.Report.LostKeys[:test.room]
			before, err = b.client.Failovers().UpdateStatus(t.Context(), before, metav1.UpdateOptions{})
			b.must(err)
			b.freeLease()
			second, ctx, kill := b.driver()
			var asked atomic.Bool
			second.RCP.Wrap(func(next http.RoundTripper) http.RoundTripper {
				return roundTrip(func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/rings/default/status") {
						asked.Store(true)
						return nil, errors.New("the ring cannot be written")
					}
					return next.RoundTrip(r)
				})
			})
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = second.Run(ctx, run.Name)
			}()
			b.await("the second driver's report", func() bool {
				now, err := b.client.Failovers().Get(t.Context(), run.Name, metav1.GetOptions{})
				b.must(err)
				return asked.Load() && !now.Status.Report.Time.Equal(before.Status.Report.Time)
			})
			kill()
			<-ended
			b.freeLease()
			third := b.carryOut(run.Name, v1alpha1.FailoverSucceeded)
			b.names(third, lost, test.room)
			b.usable("cell-1", "1", saved)
		})
	}
}

// TestReportCountsWhatAnEarlierOneHadNoRoomToName, and no object twice where that can be told.
func TestReportCountsWhatAnEarlierOneHadNoRoomToName(t *testing.T) {
	for name, test := range map[string]struct {
		epoch int64
		with  func(f *failover.Facts)
		lost  int64
	}{
		"by its number":                       {42, func(*failover.Facts) {}, 4},
		"a router that is there tells of one": {42, func(f *failover.Facts) { wrote(f, 1, "z", "3", "11", time.Minute, false) }, 4},
		"so it does, and more may have been lost since": {41, func(f *failover.Facts) {
			wrote(f, 1, "z", "3", "11", time.Minute, false)
		}, 5},
		"a router that is there tells of one that was named": {42, func(f *failover.Facts) {
			wrote(f, 1, "x", "1", "10", time.Minute, false)
		}, 4},
		"all can be asked": {42, func(f *failover.Facts) { f.Named = nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			f.Named = &failover.Named{Time: noon.Add(-time.Hour), Epoch: test.epoch, Keys: []string{"configmaps/ns/" + own("x")}, Lost: 3, Stale: 1}
			copied(t, f, "y", "2", "10", false)
			test.with(f)
			got, err := failover.Report(f)
			if err != nil {
				t.Fatal(err)
			}
			stale, protected := int64(1), int64(0) // the copy of y is the one that lacks a write, or as good as it
			if f.Named == nil {
				stale, protected = 0, 1
			}
			r := &got.FailoverReport
			if r.Lost != test.lost || r.Stale != stale || r.Protected != protected || r.Workloads != test.lost+1 || failover.Loss(r) != test.lost+stale {
				t.Errorf("lost %d, stale %d, protected %d of %d; want %d, %d, %d", r.Lost, r.Stale, r.Protected, r.Workloads, test.lost, stale, protected)
			}
			if old := r.Ages[len(r.Ages)-1].Copies; old != stale {
				t.Errorf("%d copies have lacked a write for long, want %d: %+v", old, stale, r.Ages)
			}
			if said := slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.Contains(w, "lack a write there is no name") }); said != (f.Named != nil) {
				t.Errorf("the warnings are %q", r.Warnings)
			}
		})
	}
}

// losing has cell-1 die, with an object that has a copy, two that have none, and one with a copy that was deleted since.
func (b *bed) losing() (saved string, lost []string, deleted string) {
	b.t.Helper()
	ours, _ := b.fill(4)
	saved, lost, deleted = ours[0], ours[1:3], ours[3]
	b.backUp(saved, deleted)
	b.must(b.router.CoreV1().ConfigMaps(b.namespace).Delete(b.t.Context(), deleted, metav1.DeleteOptions{}))
	b.dies("cell-1")
	return saved, lost, deleted
}

// another has the router end and one start that remembers nothing: the same one, or one of another name.
func (b *bed) another(name bool) {
	b.t.Helper()
	b.must(b.stop())
	if name {
		b.state = b.t.TempDir()
	}
	b.router = kubeOf(b.t, b.startRouter())
}

// freeLease has nobody wait for a Lease that is not renewed.
func (b *bed) freeLease() {
	b.t.Helper()
	err := b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Delete(b.t.Context(), v1alpha1.FailoverLease, metav1.DeleteOptions{})
	if !apierrors.IsNotFound(err) {
		b.must(err)
	}
}

// names wants the record of a run to count what was lost, and to name the first ones.
func (b *bed) names(run *v1alpha1.Failover, lost []string, first int) {
	b.t.Helper()
	var want []string
	for _, name := range lost {
		want = append(want, failover.Key("", "configmaps", b.namespace, name))
	}
	slices.Sort(want)
	if r := run.Status.Report; r.Lost != int64(len(want)) || !slices.Equal(r.LostKeys, want[:first]) {
		b.t.Errorf("lost are %d, %v; want %d, %v", r.Lost, r.LostKeys, len(want), want[:first])
	}
}
