package rebalance_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// ahead has a function called, once, before a request is sent that the test is for. An error is the answer.
func ahead(config *rest.Config, is func(r *http.Request, body string) bool, do func() error) {
	var once sync.Once
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			var body []byte
			if r.Body != nil {
				var err error
				if body, err = io.ReadAll(r.Body); err != nil {
					return nil, err
				}
				_ = r.Body.Close()
				r = r.Clone(r.Context())
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			var err error
			if is(r, string(body)) {
				once.Do(func() { err = do() })
			}
			if err != nil {
				return nil, err
			}
			return next.RoundTrip(r)
		})
	})
}

// makesStable is the write that makes the target the current ring.
func makesStable(r *http.Request, body string) bool {
	return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/rings/"+v1alpha1.RingName+"/status") && strings.Contains(body, `"phase":"Stable"`)
}

// announces is the write that says that the run is past recall.
func announces(r *http.Request, body string) bool {
	return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/rebalances/") && strings.Contains(body, `"toEpoch"`)
}

// TestAnAbortAtTheLastMomentIsCarriedOutOrRefused has one come between each two requests by which the run gets past recall.
func TestAnAbortAtTheLastMomentIsCarriedOutOrRefused(t *testing.T) {
	for name, c := range map[string]struct {
		// when calls abort, while the driver waits.
		when func(b *bed, d *driving, abort func(*client.Client))
		want v1alpha1.RebalancePhase
	}{
		"before the run says it": {func(b *bed, d *driving, abort func(*client.Client)) {
			ahead(d.RCP, announces, func() error {
				abort(b.client)
				return nil
			})
		}, v1alpha1.RebalanceAborted},
		"before the ring is written": {func(b *bed, d *driving, abort func(*client.Client)) {
			ahead(d.RCP, makesStable, func() error {
				abort(b.client)
				return nil
			})
		}, v1alpha1.RebalanceSucceeded},
		"looked before, and written after": {func(b *bed, d *driving, abort func(*client.Client)) {
			reached, goOn := make(chan struct{}), make(chan struct{})
			config := rest.CopyConfig(b.rcp)
			ahead(config, func(r *http.Request, _ string) bool { return r.Method == http.MethodPatch }, func() error {
				close(reached)
				<-goOn
				return nil
			})
			slow, err := client.New(config)
			b.must(err)
			aborted := make(chan struct{})
			d.Step = func(s rebalance.StepName) {
				switch s {
				case rebalance.Settled:
					go func() {
						defer close(aborted)
						abort(slow)
					}()
					<-reached
				case rebalance.StableWritten:
					close(goOn)
					<-aborted
				}
			}
		}, v1alpha1.RebalanceSucceeded},
	} {
		t.Run(name, func(t *testing.T) {
			b, before := growing(t, few)
			run := b.accepted(v1alpha1.RebalanceSpec{}).Run.Name
			d := b.driver("it")
			asked := make(chan error, 1)
			c.when(b, d, func(client *client.Client) { asked <- rebalance.Abort(t.Context(), client, run) })
			b.start(d, run)
			ended := b.finish(d, c.want)
			if len(asked) == 0 {
				t.Fatal("nobody has asked for an abort")
			}
			if err := <-asked; c.want == v1alpha1.RebalanceAborted {
				b.must(err)
			} else {
				wantRefusal(t, err, "is past recall")
			}
			if ended.Spec.Abort != (c.want == v1alpha1.RebalanceAborted) || ended.Status.ToEpoch != b.ring().Status.Epoch {
				t.Errorf("abort is %t, toEpoch %d; the ring is in epoch %d", ended.Spec.Abort, ended.Status.ToEpoch, b.ring().Status.Epoch)
			}
			b.settled(before)
		})
	}
}

// TestTheWayBackHasItsOwnTotals even where the driver ends at the turn, and could not tell of it at first.
func TestTheWayBackHasItsOwnTotals(t *testing.T) {
	b := newBed(t, member(1, 100), member(2, 100))
	before := b.fill(60)
	b.want(member(1, 100), member(2, 300))
	name := b.accepted(v1alpha1.RebalanceSpec{Window: 3, Step: 2}).Run.Name
	first := b.driver("first")
	var turning atomic.Bool
	for range 3 { // the publisher tries it as well
		ahead(first.RCP, func(r *http.Request, body string) bool {
			return turning.Load() && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/rebalances/") && !strings.Contains(body, `"pairs"`)
		}, func() error { return errors.New("connection refused") })
	}
	first.RCP.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			if turning.Load() && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/rings/") {
				first.kill()
			}
			return answer, err
		})
	})
	b.start(first, name)
	b.awaitPaused(name)
	moved := b.moved(name).Moved
	turning.Store(true)
	b.must(rebalance.Abort(t.Context(), b.client, name))
	<-first.result
	b.forgetLease()
	second := b.driver("second")
	b.start(second, name)
	b.finish(second, v1alpha1.RebalanceAborted)
	want := []v1alpha1.PairProgress{{From: "cell-2", To: "cell-1", Total: moved, Moved: moved}}
	if diff := cmp.Diff(want, b.rebalance(name).Status.Pairs); diff != "" || moved == 0 {
		t.Errorf("-want +got:\n%s", diff)
	}
	b.settled(before)
}

// pauses is the write by which the driver pauses the run itself.
func pauses(r *http.Request, body string) bool {
	return r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/rebalances/") && strings.Contains(body, "/spec/paused")
}

// TestAnAbortIsNotPausedByFailures has one come just before the driver pauses the run, since too many units failed.
func TestAnAbortIsNotPausedByFailures(t *testing.T) {
	b, before := growing(t, 20)
	started := b.accepted(v1alpha1.RebalanceSpec{MaxFailures: new(int32), Window: 2})
	leave := b.squat(started.Units[3])
	d := b.driver("it")
	ahead(d.RCP, pauses, func() error {
		leave()
		return rebalance.Abort(t.Context(), b.client, started.Run.Name)
	})
	b.start(d, started.Run.Name)
	if run := b.finish(d, v1alpha1.RebalanceAborted); run.Spec.Paused || !run.Spec.Abort {
		t.Errorf("in the end: %+v", run.Spec)
	}
	b.settled(before)
}

// TestAnAbortWaitsForWhatIsInTheWay: what somebody has made in the new cell of a unit that has not moved would be what clients
// get, once the run walks back.
func TestAnAbortWaitsForWhatIsInTheWay(t *testing.T) {
	b, before := growing(t, 20)
	started := b.accepted(v1alpha1.RebalanceSpec{MaxFailures: new(int32), Window: 2})
	name, unit := started.Run.Name, started.Units[3]
	leave := b.squat(unit)
	d := b.driver("it")
	b.start(d, name)
	b.awaitPaused(name)
	b.must(rebalance.Abort(t.Context(), b.client, name))
	b.await("the run to say what is in the way", func() bool {
		c := apimeta.FindStatusCondition(b.rebalance(name).Status.Conditions, v1alpha1.ConditionCellsUsable)
		return b.ring().Status.Aborting ||
			c != nil && c.Status == metav1.ConditionFalse && strings.HasSuffix(c.Message, ": configmaps "+unit.Key+" in cell "+unit.To)
	})
	if b.ring().Status.Aborting {
		t.Fatal("the run walks back while an object is in the way")
	}
	maps, object := b.router.CoreV1().ConfigMaps(b.namespace), unit.Objects[0].Name
	_, err := maps.Patch(t.Context(), object, types.MergePatchType, []byte(`{"data":{"written":"yes"}}`), metav1.PatchOptions{})
	b.must(err)
	leave()
	b.finish(d, v1alpha1.RebalanceAborted)
	found, err := maps.Get(t.Context(), object, metav1.GetOptions{})
	b.must(err)
	if found.Data["written"] != "yes" {
		t.Errorf("what was written is lost: %v", found.Data)
	}
	for name, moved := range b.settled(before) {
		if moved {
			t.Errorf("%s is not where it was", name)
		}
	}
}

// TestAnAbortIsNotPutOffByWhatIsMadeAnew: cells are listed one after another, and what a client deletes and makes anew between
// the list of its old cell and that of its new one is seen in both.
func TestAnAbortIsNotPutOffByWhatIsMadeAnew(t *testing.T) {
	b, before := growing(t, 20)
	started := b.accepted(v1alpha1.RebalanceSpec{Window: 1, Step: 1})
	name, unit := started.Run.Name, started.Units[len(started.Units)-1]
	object := unit.Objects[0].Name
	var armed atomic.Bool
	listed := make(chan struct{})
	seen := sync.OnceFunc(func() { close(listed) })
	replace := sync.OnceFunc(func() {
		select {
		case <-listed:
		case <-t.Context().Done():
			return
		}
		if err := b.router.CoreV1().ConfigMaps(b.namespace).Delete(t.Context(), object, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		b.awaitMade(object)
	})
	d := b.driver("it")
	wrap := d.WrapCell
	d.WrapCell = func(cell string, config *rest.Config) {
		wrap(cell, config)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				lists := armed.Load() && r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/configmaps") && !r.URL.Query().Has("labelSelector")
				if lists && cell == unit.To {
					replace()
				}
				answer, err := next.RoundTrip(r)
				if lists && cell == unit.From && err == nil {
					var body []byte
					body, err = io.ReadAll(answer.Body)
					_ = answer.Body.Close()
					answer.Body = io.NopCloser(bytes.NewReader(body))
					seen()
				}
				return answer, err
			})
		})
	}
	b.start(d, name)
	b.awaitPaused(name)
	armed.Store(true)
	b.must(rebalance.Abort(t.Context(), b.client, name))
	b.await("the way back", func() bool {
		c := apimeta.FindStatusCondition(b.rebalance(name).Status.Conditions, v1alpha1.ConditionCellsUsable)
		if c != nil && c.Status == metav1.ConditionFalse {
			t.Fatalf("the run does not walk back: %s", c.Message)
		}
		return b.ring().Status.Aborting
	})
	b.finish(d, v1alpha1.RebalanceAborted)
	select {
	case <-listed:
	default:
		t.Error("nothing was made anew between two lists")
	}
	for name, moved := range b.settled(before) {
		if moved {
			t.Errorf("%s is not where it was", name)
		}
	}
}

// TestAStepIsDoneOnceItIsWritten has the driver learn nothing of the run from the moment on in which it has written that its
// step is done.
func TestAStepIsDoneOnceItIsWritten(t *testing.T) {
	b, before := growing(t, few)
	name := b.accepted(v1alpha1.RebalanceSpec{Window: 2, Step: 1}).Run.Name
	d := b.driver("it")
	var deaf atomic.Int32
	seeing := make(chan struct{})
	var mu sync.Mutex
	begun := map[string]bool{}
	tooMany := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(begun) > 2
	}
	d.RCP.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			switch {
			case !strings.Contains(r.URL.Path, "/rebalances"):
			case r.URL.Query().Get("watch") != "":
				select {
				case <-seeing:
				case <-r.Context().Done():
					return nil, r.Context().Err()
				}
			case r.Method == http.MethodGet && deaf.Add(-1) >= 0:
				return nil, errors.New("connection refused")
			case r.Method == http.MethodPatch:
				answer, err := next.RoundTrip(r)
				deaf.Store(3) // others read the run as well
				return answer, err
			}
			return next.RoundTrip(r)
		})
	})
	d.UnitStep = func(s migration.Step) {
		mu.Lock()
		defer mu.Unlock()
		begun[s.Unit.Key] = true
	}
	b.start(d, name)
	b.await("the pause", func() bool { return tooMany() || b.rebalance(name).Status.Phase == v1alpha1.RebalancePaused })
	if tooMany() {
		t.Error("more units have begun than the 2 of one step")
	}
	close(seeing)
	b.must(rebalance.Resume(t.Context(), b.client, name, rebalance.ResumeOptions{}))
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.settled(before)
}
