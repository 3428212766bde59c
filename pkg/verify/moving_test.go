package verify_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/verify"
)

// startBackup runs a backup daemon until the test ends.
func (b *bed) startBackup() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- backup.Run(ctx, backup.Config{
			RCP: rest.CopyConfig(b.rcp), Identity: b.t.Name(), Listen: "127.0.0.1:0", LeaseDuration: steadyLease,
			Ready: func(url string) { ready <- url }, Logger: quiet(), Now: time.Now,
		})
	}()
	b.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
	})
	<-ready
}

// TestNothingIsFoundWhileUnitsMove verifies again and again while a rebalance runs, with writers and a backup daemon.
func TestNothingIsFoundWhileUnitsMove(t *testing.T) {
	b := newBed(t)
	const objects = 60
	router := kubeOf(t, b.router)
	maps := router.CoreV1().ConfigMaps(b.namespace)
	for i := range objects {
		_, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m-%d", i)}}, metav1.CreateOptions{})
		b.must(err)
	}
	b.startBackup()
	options := b.options()
	options.Lag = 5 * time.Second // what a daemon takes on a busy machine
	look := func() *verify.Result {
		t.Helper()
		r, err := verify.Run(t.Context(), options)
		b.must(err)
		return r
	}
	b.await("all to be protected", func() bool {
		r := look()
		return len(r.Findings) == 0 && len(r.Warnings) == 0 && r.Envelopes == objects
	})

	writing, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	defer writers.Wait()
	defer stop()
	for w := range 4 {
		writers.Go(func() {
			for n := 0; writing.Err() == nil; n++ {
				err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
					cm, err := maps.Get(writing, fmt.Sprintf("m-%d", (n*7+w)%objects), metav1.GetOptions{})
					if err != nil {
						return err
					}
					cm.Data = map[string]string{"n": fmt.Sprint(n)}
					_, err = maps.Update(writing, cm, metav1.UpdateOptions{})
					return err
				})
				if err != nil && writing.Err() == nil && !apierrors.IsConflict(err) {
					t.Errorf("write: %v", err)
					return
				}
				select {
				case <-writing.Done():
				case <-time.After(10 * time.Millisecond): // others want to get on as well
				}
			}
		})
	}
	moved, seen := b.rebalanceAway("cell-3", look)
	if moved == 0 || seen[v1alpha1.RingRebalancing] == 0 {
		t.Errorf("%d units have moved, and the looks were in phases %v; want some units, and a look while they moved", moved, seen)
	}
}

// rebalanceAway takes most of a cell's weight, and looks until the run has ended. seen counts the looks by phase.
func (b *bed) rebalanceAway(cell string, look func() *verify.Result) (moved int64, seen map[v1alpha1.RingPhase]int) {
	b.t.Helper()
	ring := b.ring()
	for i := range ring.Spec.Members {
		if ring.Spec.Members[i].Cell == cell {
			ring.Spec.Members[i].Weight = 10
		}
	}
	_, err := b.client.Rings().Update(b.t.Context(), ring, metav1.UpdateOptions{})
	b.must(err)
	started, err := rebalance.Start(b.t.Context(), b.rcp, rebalance.StartOptions{Spec: v1alpha1.RebalanceSpec{Window: 2, Rate: 1}})
	b.must(err)
	ended := make(chan error, 1)
	driver := &rebalance.Driver{RCP: b.rcp, Identity: b.t.Name(), LeaseDuration: steadyLease, Logger: quiet(), Settle: backup.Settle(b.kube)}
	go func() {
		_, err := driver.Run(b.t.Context(), started.Run.Name)
		ended <- err
	}()
	seen = map[v1alpha1.RingPhase]int{}
	for {
		r := look()
		if seen[r.Phase]++; len(r.Findings) > 0 {
			b.t.Errorf("in phase %s: findings %s; want none", r.Phase, describe(r.Findings))
		}
		select {
		case err := <-ended:
			b.must(err)
			run, err := b.client.Rebalances().Get(b.t.Context(), started.Run.Name, metav1.GetOptions{})
			b.must(err)
			look()
			for _, pair := range run.Status.Pairs {
				moved += pair.Moved
			}
			return moved, seen
		default:
		}
	}
}

// TestRepairIsCutOff at each step of a move, loses nothing, and is gone on with by the next.
func TestRepairIsCutOff(t *testing.T) {
	for _, last := range []migration.StepName{migration.Marked, migration.Created, migration.Verified, migration.Flipped, migration.Revealed} {
		t.Run(string(last), func(t *testing.T) {
			b := newBed(t)
			b.neverBackedUp()
			name, _, other := b.at("cell-1", "x")
			b.create(other, name, "precious")
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			_, err := verify.Repair(ctx, verify.RepairOptions{
				Options: b.options(), Identity: t.Name(), LeaseDuration: steadyLease,
				Step: func(s migration.Step) {
					if s.Name == last {
						interrupt()
					}
				},
			})
			if done := err == nil && last == migration.Revealed; !done && !errors.Is(err, context.Canceled) {
				t.Fatalf("error is %v; want the interrupt", err)
			}
			if _, err := b.get(other, name); err != nil {
				t.Errorf("cut off after %s: %v; want it still where it was, or its tombstone", last, err)
			}
			b.repair() // takes it back, or finishes it
			b.repair() // and takes it home
			b.clean()
			b.wantAt("cell-1", name, "precious")
		})
	}
}

// TestNothingIsMendedWhileUnitsMove refuses at once.
func TestNothingIsMendedWhileUnitsMove(t *testing.T) {
	b := newBed(t)
	plantTwin(b)
	for _, busy := range []func(*v1alpha1.RingStatus){
		func(s *v1alpha1.RingStatus) { s.Phase, s.Target = v1alpha1.RingPreparing, s.Current.DeepCopy() },
		func(s *v1alpha1.RingStatus) { s.Failover = "fo-9" },
	} {
		b.setRing(busy)
		_, err := verify.Repair(t.Context(), verify.RepairOptions{Options: b.options(), Identity: t.Name()})
		if exit.CodeOf(err) != exit.Refused {
			t.Errorf("error is %v; want a refusal", err)
		}
	}
}

// TestACellThatDoesNotAnswer is named, the others are checked, and nothing is said of what it may have.
func TestACellThatDoesNotAnswer(t *testing.T) {
	b := newBed(t)
	_, _, other := b.at("cell-1", "x")
	away := "cell-2"
	if other == away {
		away = "cell-3"
	}
	twin, _, _ := b.protected("cell-1", "x")
	b.create(other, twin.Name, "1")
	there, _, _ := b.at(away, "y")
	b.create("cell-1", there, "1") // misplaced, or a duplicate: the cell that would tell is away
	for name, fails := range map[string]func() bool{
		"from the beginning": func() bool { return true },
		"half way":           afterLists(2),
	} {
		t.Run(name, func(t *testing.T) {
			options := b.options()
			options.WrapCell = func(cell string, config *rest.Config) {
				if cell == away {
					config.Wrap(func(next http.RoundTripper) http.RoundTripper { return failing{fails, next} })
				}
			}
			r, err := verify.Run(t.Context(), options)
			b.must(err)
			unread := ""
			for _, c := range r.Cells {
				if c.State == verify.Unreachable {
					unread += c.Cell
				}
			}
			if unread != away || !r.Unread() {
				t.Errorf("cells are %+v; want %s unreachable", r.Cells, away)
			}
			for _, f := range r.Findings {
				if f.Cell == away || strings.HasSuffix(f.Object, there) {
					t.Errorf("found %s, which the cell that is away would have to tell", describe([]verify.Finding{f}))
				}
			}
			if r.Counts[verify.Duplicate] != 1 {
				t.Errorf("findings %s; want the duplicate", describe(r.Findings))
			}
		})
	}
}

// failing is a way to a cell that breaks.
type failing struct {
	fails func() bool
	next  http.RoundTripper
}

func (f failing) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.RawQuery, "limit=") && f.fails() {
		return nil, errors.New("the cell is away")
	}
	return f.next.RoundTrip(r)
}

func afterLists(n int32) func() bool {
	var lists atomic.Int32
	return func() bool { return lists.Add(1) > n }
}

// TestAFailedOverCell is not asked. What was promoted is no finding, and neither is what is still to be.
func TestAFailedOverCell(t *testing.T) {
	b := newBed(t)
	dead := "cell-3"
	brought, home, _ := b.at(dead, "brought")
	lost, lostHome, _ := b.at(dead, "lost")
	b.seal(b.create(home, brought, "1"), dead, home)
	kept := b.create(lostHome, lost, "1")
	b.seal(kept, dead, lostHome)
	b.must(b.configMaps(lostHome).Delete(t.Context(), lost, metav1.DeleteOptions{}))
	b.create(dead, brought, "old") // what it still has
	gone := func(s *v1alpha1.RingStatus) {
		s.Unavailable = []string{dead}
		s.Current.Members = s.Current.Members[:2]
	}
	b.setRing(func(s *v1alpha1.RingStatus) {
		gone(s)
		s.Promoting, s.Failover = []string{dead}, "fo-1"
	})
	for _, f := range b.run().Findings {
		if f.Class != verify.Unprotected { // there was no time for new envelopes
			t.Errorf("while copies are promoted: found %s", describe([]verify.Finding{f}))
		}
	}
	b.setRing(gone)
	r := b.run()
	if r.Counts[verify.Stuck] != 1 || r.Counts[verify.Misplaced]+r.Counts[verify.Duplicate]+r.Counts[verify.Orphaned] > 0 || r.Unread() {
		t.Errorf("findings %s; want the copy that was not brought back", describe(r.Findings))
	}
	if c := r.Cells[2]; c.Cell != dead || c.State != verify.FailedOver {
		t.Errorf("cells are %+v; want %s failed over", r.Cells, dead)
	}
}

// TestMemoryDoesNotGrow: what is held of lists is bounded by pages, and every list is asked for by pages.
func TestMemoryDoesNotGrow(t *testing.T) {
	b := newBed(t)
	const objects, page = 150, 10
	b.fill(objects)
	var unlimited atomic.Int32
	options := b.options()
	options.PageSize = page
	options.WrapCell = func(_ string, config *rest.Config) {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return unpaged{&unlimited, next} })
	}
	r, err := verify.Run(t.Context(), options)
	b.must(err)
	if most := int64(len(cellNames) * 2 * page); r.Objects != objects || r.MostHeld > most || r.MostHeld < page {
		t.Errorf("%d objects, %d of them held at once; want %d and at most two pages for each cell, %d", r.Objects, r.MostHeld, objects, most)
	}
	if n := unlimited.Load(); n > 0 {
		t.Errorf("%d lists were asked for at once", n)
	}
}

// fill makes objects in their cells, past the router, and their envelopes.
func (b *bed) fill(n int) {
	b.t.Helper()
	sealer, err := envelope.NewSealer()
	b.must(err)
	var makers errgroup.Group
	makers.SetLimit(16)
	for i := range n {
		makers.Go(func() error {
			name := fmt.Sprintf("m-%06d", i)
			p, _ := b.snap.Table.LookupKey(b.namespace + "/" + name)
			made, err := b.configMaps(p.Old()).Create(b.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			_, err = b.sealWith(sealer, made, p.Old(), p.OldBackup())
			return err
		})
	}
	b.must(makers.Wait())
}

// unpaged counts lists without a limit.
type unpaged struct {
	count *atomic.Int32
	next  http.RoundTripper
}

func (u unpaged) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/configmaps") && r.URL.Query().Get("limit") == "" {
		u.count.Add(1)
	}
	return u.next.RoundTrip(r)
}
