package rebalance_test

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/router/routertest"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// unfenced watches over the way to a cell on which admission policies are not served.
type unfenced struct {
	// lists are those of a path that were asked for.
	path  string
	lists atomic.Int64

	mu sync.Mutex
	// What follows is guarded by mu. The next update of the path is held while hold is set.
	hold    string
	reached chan struct{}
	release chan struct{}
}

// look is a [sandboxtest.Answer]. It says nothing itself.
func (u *unfenced) look(_ http.ResponseWriter, r *http.Request) (answered bool) {
	switch {
	case r.Method == http.MethodGet && r.URL.Path == u.path:
		u.lists.Add(1)
	case r.Method == http.MethodPut:
		u.mu.Lock()
		held := r.URL.Path == u.hold
		if held {
			u.hold = ""
			close(u.reached)
		}
		u.mu.Unlock()
		if held {
			select {
			case <-u.release:
			case <-r.Context().Done():
			}
		}
	}
	return false
}

// holdNext holds the next update of a path until it is released.
func (u *unfenced) holdNext(path string) (reached <-chan struct{}, release func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.hold, u.reached, u.release = path, make(chan struct{}), make(chan struct{})
	return u.reached, sync.OnceFunc(func() { close(u.release) })
}

// unfence takes a cell's fence off, and has the federation, the router of all tests too, know the cell by a way on which it
// cannot have one, until the test ends. The cell has to be in the ring all the time.
func (b *bed) unfence(cell string) *unfenced {
	b.t.Helper()
	u := &unfenced{path: b.path()}
	// The router lists by the way that it knows.
	await := func(ctx context.Context, by bool) {
		err := wait.PollUntilContextTimeout(ctx, pollInterval, patience, true, func(ctx context.Context) (bool, error) {
			before := u.lists.Load()
			_, err := b.router.CoreV1().ConfigMaps(b.namespace).List(ctx, metav1.ListOptions{})
			return err == nil && (u.lists.Load() > before) == by, nil
		})
		if err != nil {
			b.t.Errorf("wait for the router to know the cell by another way: %v", err)
		}
	}
	way := sandboxtest.Unfenced(b.t, b.configs[cell], u.look)
	b.t.Cleanup(func() { await(context.WithoutCancel(b.t.Context()), false) })
	sandboxtest.Reach(b.t, b.rcp, cell, b.configs[cell], way)
	await(b.t.Context(), true)
	return u
}

// path is that of the test's config maps.
func (b *bed) path() string { return "/api/v1/namespaces/" + b.namespace + "/configmaps" }

// tally is what was acknowledged of one config map.
type tally struct {
	name         string
	acknowledged atomic.Int64
}

// write sets the number in a config map. What is refused because the object moves, or has changed, was not written.
func (b *bed) write(router kubernetes.Interface, of *tally, version string, n int64) {
	next := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: of.name, ResourceVersion: version},
		Data:       map[string]string{"of": of.name, "n": strconv.FormatInt(n, 10)},
	}
	_, err := router.CoreV1().ConfigMaps(b.namespace).Update(b.t.Context(), next, metav1.UpdateOptions{})
	switch {
	case err == nil:
		of.acknowledged.Add(1)
	case !apierrors.IsConflict(err) && !apierrors.IsTooManyRequests(err):
		b.t.Errorf("write %s: %v", of.name, err)
	}
}

// increment adds one to the number in a config map, unless somebody else writes it meanwhile.
func (b *bed) increment(router kubernetes.Interface, of *tally) {
	found, err := router.CoreV1().ConfigMaps(b.namespace).Get(b.t.Context(), of.name, metav1.GetOptions{})
	if err != nil {
		b.t.Errorf("read %s: %v", of.name, err)
		return
	}
	b.write(router, of, found.ResourceVersion, b.number(found)+1)
}

// number is that in a config map, 0 in one that was never written.
func (b *bed) number(of *corev1.ConfigMap) int64 {
	n, err := strconv.ParseInt("0"+of.Data["n"], 10, 64)
	if err != nil {
		b.t.Error(err)
	}
	return n
}

// traffic has two clients of each router write until it is stopped: all increment all counters, and each overwrites a
// register of its own, whatever its version.
func (b *bed) traffic(routers []kubernetes.Interface, counters, registers []*tally) (stop func()) {
	var stopped atomic.Bool
	var clients sync.WaitGroup
	for n, register := range registers {
		router := routers[n%len(routers)]
		clients.Go(func() {
			for i := n; !stopped.Load() && !b.t.Failed(); i++ {
				b.increment(router, counters[i%len(counters)])
				b.write(router, register, "", register.acknowledged.Load()+1)
			}
		})
	}
	stop = func() {
		stopped.Store(true)
		clients.Wait()
	}
	b.t.Cleanup(stop)
	return stop
}

// awaitWritten waits until each was written since.
func (b *bed) awaitWritten(all []*tally) {
	b.t.Helper()
	for _, of := range all {
		before := of.acknowledged.Load()
		b.await(of.name+" to be written", func() bool { return of.acknowledged.Load() > before || b.t.Failed() })
	}
}

// TestACellWithoutAFenceLosesNoWrite has keys move out of a cell whose apiserver serves no admission policies while clients of
// two routers write them: the barrier alone keeps what they were told from being lost. One write is on its way to the cell
// when its object is marked, and for as long as it takes the driver to say that it waits for a router.
func TestACellWithoutAFenceLosesNoWrite(t *testing.T) {
	b := newBed(t, member(1, 300), member(2, 100))
	before := b.fill(2 * few)
	way := b.unfence("cell-1")
	routers := []kubernetes.Interface{b.router, kubeOf(t, routertest.Run(t, b.rcp).Config)}
	b.want(member(1, 100), member(2, 100), member(3, 200))
	started := b.accepted(v1alpha1.RebalanceSpec{})
	if !slices.ContainsFunc(started.Warnings, func(w string) bool { return strings.HasPrefix(w, "cell cell-1 has no fence") }) || len(started.Warnings) != 1 {
		t.Errorf("warnings %q; want that cell-1 has no fence", started.Warnings)
	}
	var all []*tally
	for _, unit := range started.Units {
		if unit.From == "cell-1" {
			all = append(all, &tally{name: strings.TrimPrefix(unit.Key, b.namespace+"/")})
		}
	}
	if len(all) < 6 {
		t.Fatalf("%d units move out of cell-1", len(all))
	}
	late, registers, counters := all[0], all[1:5], all[5:]
	stop := b.traffic(routers, counters, registers)
	b.awaitWritten(all[1:])

	d := b.driver("it")
	reached, release := way.holdNext(b.path() + "/" + late.name)
	t.Cleanup(release)
	written := make(chan struct{})
	var once atomic.Bool // a driver that tries again takes the step again
	d.Step = func(at rebalance.StepName) {
		if at != rebalance.RebalancingAcknowledged || !once.CompareAndSwap(false, true) {
			return
		}
		go func() {
			defer close(written)
			b.write(routers[1], late, "", 1)
		}()
		select {
		case <-reached:
		case <-written:
			t.Error("a write that was to be held has ended")
		}
	}
	b.start(d, started.Run.Name)
	b.await("the write to be held", func() bool {
		select {
		case <-reached:
			return true
		default:
			return false
		}
	})
	told := 0
	b.await("the object to be marked", func() bool {
		told = len(d.events.of(rebalance.EventBlocked))
		return b.copies()[late.name]["cell-1"].Labels[v1alpha1.LabelRebalanceStatus] != ""
	})
	b.await("the driver to wait for a router", func() bool {
		if cm := b.copies()[late.name]["cell-1"]; cm.Labels[v1alpha1.LabelRebalanceStatus] == string(v1alpha1.Migrated) {
			t.Error("an object has moved while a write of it was on its way")
			return true
		}
		return slices.ContainsFunc(d.events.of(rebalance.EventBlocked)[told:], func(e rebalance.Event) bool { return e.Message != "" })
	})
	release()
	<-written
	b.finish(d, v1alpha1.RebalanceSucceeded)
	b.awaitWritten(all[1:])
	stop()

	moved := b.settled(before)
	for _, unit := range started.Units {
		name := strings.TrimPrefix(unit.Key, b.namespace+"/")
		if !moved[name] {
			t.Errorf("%s has not moved", name)
		}
		delete(moved, name)
	}
	for name, is := range moved {
		if is {
			t.Errorf("%s has moved, and was not planned to", name)
		}
	}
	for _, of := range all {
		found, err := b.router.CoreV1().ConfigMaps(b.namespace).Get(t.Context(), of.name, metav1.GetOptions{})
		b.must(err)
		if got, want := b.number(found), of.acknowledged.Load(); got != want {
			t.Errorf("%s is %d; want the %d writes that were acknowledged", of.name, got, want)
		}
	}
	if late.acknowledged.Load() != 1 {
		t.Error("the write that was held was refused")
	}
}
