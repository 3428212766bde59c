package failover_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestAGuardThatIsLateFreezesNothing: it is suspended between its look at the ring and the freeze, as a daemon that stands
// by may be, and meanwhile the cell comes back, and is in the wanted ring. Nobody else would thaw it.
func TestAGuardThatIsLateFreezesNothing(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	held, goOn := make(chan struct{}), make(chan struct{})
	hold := sync.OnceFunc(func() {
		close(held)
		<-goOn
	})
	config := rest.CopyConfig(b.rcp)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			if strings.Contains(r.URL.Path, "/secrets") { // it is about to go to the cell
				hold()
			}
			return answer, err
		})
	})
	var log sandboxtest.Buffer
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- (&failover.Guard{RCP: config, Logger: slog.New(slog.NewTextHandler(&log, nil))}).Watch(ctx)
	}()
	defer func() {
		stop()
		b.must(<-ended)
	}()
	<-held
	b.gates["cell-1"].Pass()
	_, err := (&failover.Failback{
		RCP: b.rcp, Identity: "it", LeaseDuration: steadyLease, Cell: "cell-1", Dir: t.TempDir(), Host: "here", Logger: quiet(),
	}).Run(t.Context())
	b.must(err)
	close(goOn)
	b.await("the guard to have seen to the cell", func() bool {
		return strings.Contains(log.String(), "froze a cell") || strings.Contains(log.String(), "thawed a cell")
	})
	direct := configMaps{b, b.cells["cell-1"]}
	b.await("the cell to take writes", func() bool {
		_, err := direct.create("direct", "1")
		return err == nil
	})
	b.await("the Cell to say so", func() bool {
		cell, err := b.client.Cells().Get(t.Context(), "cell-1", metav1.GetOptions{})
		b.must(err)
		for _, c := range cell.Status.Conditions {
			if c.Type == v1alpha1.ConditionFrozen {
				return c.Reason == v1alpha1.ReasonThawed
			}
		}
		return false
	})
}

// TestOfTwoCopiesTheNewerIsSaved when their cell comes back, in whichever cell it is: while a rebalance runs there may be two.
func TestOfTwoCopiesTheNewerIsSaved(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	direct := configMaps{b, b.cells["cell-1"]}
	for name, cells := range map[string][2]string{"first": {"cell-2", "cell-3"}, "second": {"cell-3", "cell-2"}} {
		_, err := direct.create(name, "older")
		b.must(err)
		b.seal(name, "cell-1", cells[0])
		b.must(direct.set(name, "newer"))
		b.seal(name, "cell-1", cells[1])
	}
	b.gates["cell-1"].Pass()
	dir := t.TempDir()
	_, err := (&failover.Failback{
		RCP: b.rcp, Identity: "it", LeaseDuration: steadyLease, Cell: "cell-1", Dir: dir, Host: "here", Logger: quiet(),
	}).Run(t.Context())
	b.must(err)
	for _, name := range []string{"first", "second"} {
		text, err := os.ReadFile(filepath.Join(dir, "configmaps", b.namespace, name+".copy.yaml"))
		if b.must(err); !strings.Contains(string(text), "value: newer") {
			t.Errorf("of %s there is\n%s", name, text)
		}
	}
	if n := b.envelopes("cell-1"); n != 0 {
		t.Errorf("%d envelopes are left", n)
	}
}

// TestASecondFailbackIntoTheFolderOfTheFirst keeps what is there: what the cell has under a name is another object by then.
func TestASecondFailbackIntoTheFolderOfTheFirst(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	dir := t.TempDir()
	direct := configMaps{b, b.cells["cell-1"]}
	for _, value := range []string{"one", "two"} {
		b.dies("cell-1")
		b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1", AcceptLoss: failover.AcceptAll}).Name, v1alpha1.FailoverSucceeded)
		_, err := direct.create("alone", value)
		b.must(err)
		b.gates["cell-1"].Pass()
		run, err := (&failover.Failback{
			RCP: b.rcp, Identity: "it", LeaseDuration: steadyLease, Cell: "cell-1", Dir: dir, Host: "here", Logger: quiet(),
		}).Run(t.Context())
		b.must(err)
		if run.Status.Phase != v1alpha1.FailoverSucceeded {
			t.Fatalf("the failback after %s ended %s", value, run.Status.Phase)
		}
		b.reset(cellNames...) // as if a rebalance had ended
		b.acknowledged()
	}
	files, err := filepath.Glob(filepath.Join(dir, "configmaps", b.namespace, "alone*.cell.yaml"))
	b.must(err)
	saved := ""
	for _, file := range files {
		text, err := os.ReadFile(file)
		b.must(err)
		saved += string(text)
	}
	if len(files) != 2 || !strings.Contains(saved, "value: one") || !strings.Contains(saved, "value: two") {
		t.Errorf("saved is in %v:\n%s", files, saved)
	}
}

// TestTwoAreOrderedAtOnce: of one cell, or of two at one epoch. One comes first, and the other one finds it done, or is refused.
func TestTwoAreOrderedAtOnce(t *testing.T) {
	for name, cells := range map[string][2]string{"one cell": {"cell-1", "cell-1"}, "two cells": {"cell-1", "cell-2"}} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			ours, others := b.fill(3)
			b.backUp(append(ours, others...)...)
			epoch := b.ring().Status.Epoch
			var both sync.WaitGroup
			var runs [2]string
			arrived, goOn := make(chan struct{}, 2), make(chan struct{})
			for i, cell := range cells {
				both.Go(func() {
					config := rest.CopyConfig(b.rcp)
					var once sync.Once
					config.Wrap(func(next http.RoundTripper) http.RoundTripper {
						return roundTrip(func(r *http.Request) (*http.Response, error) {
							if r.Method == http.MethodPost && path.Base(r.URL.Path) == "failovers" {
								once.Do(func() { // both are about to be created
									arrived <- struct{}{}
									<-goOn
								})
							}
							return next.RoundTrip(r)
						})
					})
					started, err := failover.Start(t.Context(), config, v1alpha1.FailoverSpec{Cell: cell, Force: true, ConfirmEpoch: epoch}, false)
					if err != nil || started.Refused != nil || started.Run == nil {
						t.Errorf("order of %s: %+v, %v", cell, started, err)
						return
					}
					runs[i] = started.Run.Name
				})
			}
			<-arrived
			<-arrived
			close(goOn)
			both.Wait()
			if t.Failed() {
				return
			}
			var succeeded, refused int
			var failedOver string
			for i, name := range runs {
				d, ctx, cancel := b.driver()
				both.Go(func() {
					defer cancel()
					bounded, stop := context.WithTimeout(ctx, 2*time.Minute)
					defer stop()
					_, err := d.Run(bounded, name)
					if err != nil && exit.CodeOf(err) != exit.Refused {
						t.Errorf("failover %s of %s: %v", name, cells[i], err)
					}
				})
			}
			both.Wait()
			for _, name := range runs {
				run, err := b.client.Failovers().Get(t.Context(), name, metav1.GetOptions{})
				b.must(err)
				switch run.Status.Phase {
				case v1alpha1.FailoverSucceeded:
					succeeded++
					failedOver = run.Spec.Cell
				case v1alpha1.FailoverRefused:
					refused++
				}
			}
			same := cells[0] == cells[1]
			if runs[0] == runs[1] || succeeded+refused != 2 || succeeded == 0 || !same && refused != 1 {
				t.Errorf("of %v %d succeeded, and %d were refused", runs, succeeded, refused)
			}
			if s := b.ring().Status; len(s.Unavailable) != 1 || s.Unavailable[0] != failedOver {
				t.Errorf("the ring is %+v; want %s failed over", s, failedOver)
			}
			b.usable(failedOver, "1", append(ours, others...)...)
		})
	}
}
