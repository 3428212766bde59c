package rebalance_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// asBackup has no other rights than those of a backup daemon.
func (b *bed) asBackup() *rest.Config {
	config := rest.CopyConfig(b.rcp)
	config.Impersonate = rest.ImpersonationConfig{UserName: "kubecell:backup", Groups: []string{federation.GroupBackup}}
	return config
}

func (b *bed) tombstones() (n int) {
	b.t.Helper()
	for _, cells := range b.copies() {
		for _, cm := range cells {
			if cm.Labels[v1alpha1.LabelRebalanceStatus] == string(v1alpha1.Migrated) {
				n++
			}
		}
	}
	return n
}

// attend runs the driver as a backup daemon does, until the test ends.
func (b *bed) attend(d *driving) {
	ctx, stop := context.WithCancel(d.dead)
	attended := make(chan error, 1)
	go func() { attended <- d.Attend(ctx) }()
	b.t.Cleanup(func() {
		stop()
		if err := <-attended; err != nil {
			b.t.Error(err)
		}
	})
}

// TestABackupDaemonDrivesARunThatNobodyElseDoes has it carry out one that is left to it, pause itself for a
// failed unit, and bury in the end; a viewer is attached.
func TestABackupDaemonDrivesARunThatNobodyElseDoes(t *testing.T) {
	b, before := growing(t, few)
	daemon := b.driver("daemon")
	daemon.RCP = b.asBackup()
	b.attend(daemon)
	started, err := rebalance.Start(t.Context(), b.rcp, rebalance.StartOptions{
		Spec: v1alpha1.RebalanceSpec{Window: 2, Step: 1, Grace: &metav1.Duration{Duration: time.Hour}}, Detached: true,
	})
	b.must(err)
	name := started.Run.Name
	b.awaitPaused(name)
	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}))
	seen := &eventLog{}
	run, err := rebalance.Watch(t.Context(), b.rcp, name, seen.add)
	b.must(err)
	if run.Status.Phase != v1alpha1.RebalanceSucceeded || run.Status.Driver != "daemon" {
		t.Errorf("it ended %s, driven by %s", run.Status.Phase, run.Status.Driver)
	}
	phases := seen.of(rebalance.EventPhase)
	if len(phases) == 0 || phases[len(phases)-1].Phase != v1alpha1.RebalanceSucceeded || len(seen.of(rebalance.EventProgress)) == 0 {
		t.Errorf("the viewer saw %+v", phases)
	}
	b.settled(before)
	b.awaitEvents(name, "Normal Rebalance Preparing", "Normal Rebalance Moving", "Normal Rebalance Succeeded", "Normal Cell Rebalanced")

	tombstones := b.tombstones()
	buried, err := rebalance.Bury(t.Context(), b.asBackup(), clock.RealClock{})
	b.must(err)
	if buried != 0 || tombstones == 0 {
		t.Errorf("%d of %d tombstones buried within their grace", buried, tombstones)
	}
	later := offset{time.Hour + time.Minute}
	forget := b.silentRouter()
	if buried, err = rebalance.Bury(t.Context(), b.asBackup(), later); err != nil || buried != 0 {
		t.Errorf("%d buried while a router does not acknowledge, error %v", buried, err)
	}
	forget()
	if buried, err = rebalance.Bury(t.Context(), b.asBackup(), later); err != nil || buried != tombstones {
		t.Errorf("%d of %d tombstones buried, error %v", buried, tombstones, err)
	}
	// What they owned is orphaned first, by the garbage collector of the cell.
	b.await("the tombstones to be gone", func() bool { return b.tombstones() == 0 })
	b.settled(before)
}

// TestABackupDaemonBuriesWhatARunHasLeft without being asked, once the grace has ended.
func TestABackupDaemonBuriesWhatARunHasLeft(t *testing.T) {
	b, before := growing(t, few)
	name := b.accepted(v1alpha1.RebalanceSpec{Grace: &metav1.Duration{}}).Run.Name
	d := b.driver("it")
	b.start(d, name)
	b.finish(d, v1alpha1.RebalanceSucceeded)
	if b.tombstones() == 0 {
		t.Fatal("the run left no tombstones")
	}
	daemon := b.driver("daemon")
	daemon.RCP = b.asBackup()
	b.attend(daemon)
	b.await("the tombstones to be gone", func() bool { return b.tombstones() == 0 })
	b.settled(before)
}

// TestABurialDelaysNoTakeover has one hang while a run is left to the daemon.
func TestABurialDelaysNoTakeover(t *testing.T) {
	b, before := growing(t, few)
	d := b.driver("it")
	b.start(d, b.accepted(v1alpha1.RebalanceSpec{Grace: &metav1.Duration{}}).Run.Name)
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.want(member(1, 100), member(2, 100))
	daemon := b.driver("daemon")
	daemon.RCP = b.asBackup()
	// Without a run it is a burial that asks for the cells.
	hangs, release := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	daemon.RCP.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/cells") && once.CompareAndSwap(false, true) {
				close(hangs)
				select {
				case <-release:
				case <-r.Context().Done():
				}
			}
			return next.RoundTrip(r)
		})
	})
	b.attend(daemon)
	<-hangs
	started, err := rebalance.Start(t.Context(), b.rcp, rebalance.StartOptions{Spec: v1alpha1.RebalanceSpec{Window: 20}, Detached: true})
	b.must(err)
	b.await("the run to end", func() bool { return b.rebalance(started.Run.Name).Status.Phase == v1alpha1.RebalanceSucceeded })
	close(release)
	b.settled(before)
}

// offset is a clock that is ahead.
type offset struct{ ahead time.Duration }

func (o offset) Now() time.Time                   { return time.Now().Add(o.ahead) }
func (o offset) Since(at time.Time) time.Duration { return o.Now().Sub(at) }

// awaitEvents waits for Events about a run and its cells, each as its type, kind and reason.
func (b *bed) awaitEvents(run string, wanted ...string) {
	b.t.Helper()
	for _, want := range wanted {
		b.await("the Event "+want, func() bool {
			list, err := b.kube.CoreV1().Events(metav1.NamespaceDefault).List(b.t.Context(), metav1.ListOptions{})
			b.must(err)
			return slices.ContainsFunc(list.Items, func(e corev1.Event) bool {
				about := e.InvolvedObject.Name == run || strings.HasPrefix(e.Message, "rebalance "+run+":") || strings.HasPrefix(e.Message, "rebalance "+run+" ")
				return about && e.Type+" "+e.InvolvedObject.Kind+" "+e.Reason == want
			})
		})
	}
}

// TestAKilledDriverLeavesUnitsToTheNext cuts a driver off in the middle of units.
func TestAKilledDriverLeavesUnitsToTheNext(t *testing.T) {
	for _, step := range []migration.StepName{migration.Marked, migration.Created, migration.Flipped} {
		for _, aborted := range []bool{false, true} {
			name := string(step)
			if aborted {
				name += " and aborted"
			}
			t.Run(name, func(t *testing.T) {
				b, before := growing(t, few)
				run := b.accepted(v1alpha1.RebalanceSpec{Window: 5}).Run.Name
				first := b.driver("first")
				seen := make(chan struct{}, 100)
				first.UnitStep = func(s migration.Step) {
					if s.Name == step {
						if seen <- struct{}{}; len(seen) >= 4 {
							first.kill()
						}
					}
				}
				b.start(first, run)
				<-first.dead.Done()
				b.forgetLease()
				want := v1alpha1.RebalanceSucceeded
				if aborted {
					b.must(rebalance.Abort(t.Context(), b.client, run))
					want = v1alpha1.RebalanceAborted
				}
				second := b.driver("second")
				b.start(second, run)
				b.finish(second, want)
				for name, moved := range b.settled(before) {
					if moved && aborted {
						t.Errorf("%s is not where it was", name)
					}
				}
			})
		}
	}
}
