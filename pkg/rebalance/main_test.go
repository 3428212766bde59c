package rebalance_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/router/routertest"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// planes are the RCP and three cells of all tests. The ring is set anew for each.
var planes = sandboxtest.NewPool(4)

// stage is what all tests share: the federation, and a router in this process.
var stage = &routertest.Shared{}

func TestMain(m *testing.M) {
	if name := os.Getenv(driveEnv); name != "" {
		os.Exit(driveAsChild(name))
	}
	os.Exit(sandboxtest.Main(m, stage, planes))
}

const (
	pollInterval = 10 * time.Millisecond
	patience     = time.Minute
	// lease is short, so that a test need not wait long for a driver that is gone.
	lease = 3 * time.Second
)

// bed is the federation as a test sees it, with a namespace of its own.
type bed struct {
	t         testing.TB
	rcp       *rest.Config
	kube      kubernetes.Interface
	client    *client.Client
	cells     map[string]kubernetes.Interface
	configs   map[string]*rest.Config // of the cells
	router    kubernetes.Interface
	namespace string
}

// newBed sets the current ring, and the wanted one alike.
func newBed(t testing.TB, members ...v1alpha1.RingMember) *bed {
	t.Helper()
	configs := planes.Configs(t)
	for _, c := range configs {
		c.QPS, c.Burst = -1, -1
	}
	b := &bed{t: t, rcp: configs[0], kube: kubeOf(t, configs[0]), cells: map[string]kubernetes.Interface{}, configs: map[string]*rest.Config{}}
	var founders []federation.NewCell
	for i, name := range []string{"cell-1", "cell-2", "cell-3"} {
		b.cells[name], b.configs[name] = kubeOf(t, configs[i+1]), configs[i+1]
		founders = append(founders, federation.NewCell{Name: name, Kubeconfig: sandboxtest.Kubeconfig(t, configs[i+1]), Weight: 100})
	}
	b.router = kubeOf(t, stage.Config(t, b.rcp, founders))
	var err error
	if b.client, err = client.New(b.rcp); err != nil {
		t.Fatal(err)
	}
	b.clear()
	b.reset(members)
	b.makeNamespace()
	return b
}

func member(n int, weight int32) v1alpha1.RingMember {
	return v1alpha1.RingMember{Cell: fmt.Sprintf("cell-%d", n), Weight: weight}
}

func kubeOf(t testing.TB, config *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// clear removes what an earlier test left.
func (b *bed) clear() {
	b.t.Helper()
	ctx := b.t.Context()
	list, err := b.client.Rebalances().List(ctx, metav1.ListOptions{})
	b.must(err)
	for _, run := range list.Items {
		b.must(b.client.Rebalances().Delete(ctx, run.Name, metav1.DeleteOptions{}))
	}
	b.forgetLease()
}

func (b *bed) forgetLease() {
	b.t.Helper()
	err := b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Delete(b.t.Context(), v1alpha1.RebalanceLease, metav1.DeleteOptions{})
	if !apierrors.IsNotFound(err) {
		b.must(err)
	}
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// reset makes a layout the current one, without any data being moved.
func (b *bed) reset(members []v1alpha1.RingMember) {
	b.t.Helper()
	b.want(members...)
	b.must(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		ring := b.ring()
		ring.Status.Current, ring.Status.Target = ring.Spec.RingLayout.DeepCopy(), nil
		ring.Status.Phase, ring.Status.Rebalance, ring.Status.Aborting = v1alpha1.RingStable, "", false
		ring.Status.Unavailable = nil
		ring.Status.Epoch++
		_, err := b.client.Rings().UpdateStatus(b.t.Context(), ring, metav1.UpdateOptions{})
		return err
	}))
}

// want changes the wanted ring.
func (b *bed) want(members ...v1alpha1.RingMember) {
	b.t.Helper()
	b.must(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		ring := b.ring()
		ring.Spec.Members = members
		_, err := b.client.Rings().Update(b.t.Context(), ring, metav1.UpdateOptions{})
		return err
	}))
}

func (b *bed) ring() *v1alpha1.Ring {
	b.t.Helper()
	ring, err := b.client.Rings().Get(b.t.Context(), v1alpha1.RingName, metav1.GetOptions{})
	b.must(err)
	return ring
}

func (b *bed) rebalance(name string) *v1alpha1.Rebalance {
	b.t.Helper()
	run, err := b.client.Rebalances().Get(b.t.Context(), name, metav1.GetOptions{})
	b.must(err)
	return run
}

// makeNamespace makes one in every control plane, without waiting for it to be copied.
func (b *bed) makeNamespace() {
	b.t.Helper()
	b.namespace = fmt.Sprintf("ns-%d", time.Now().UnixNano())
	for _, kube := range append([]kubernetes.Interface{b.kube}, b.cells["cell-1"], b.cells["cell-2"], b.cells["cell-3"]) {
		_, err := kube.CoreV1().Namespaces().Create(b.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}, metav1.CreateOptions{})
		b.must(err)
	}
	// What the test leaves would be moved by the tests that follow.
	b.t.Cleanup(func() {
		for _, config := range b.configs {
			b.empty(kubeOf(b.t, fence.AsMover(config)))
		}
	})
}

func (b *bed) empty(kube kubernetes.Interface) {
	ctx := context.Background()
	list, err := kube.CoreV1().ConfigMaps(b.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		b.t.Error(err)
		return
	}
	maps := kube.CoreV1().ConfigMaps(b.namespace)
	for _, cm := range list.Items {
		if cm.Name == "kube-root-ca.crt" {
			continue
		}
		err := maps.Delete(ctx, cm.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			b.t.Error(err)
		}
	}
}

// where is the owner of each key by the current ring.
func (b *bed) snapshot() *routing.Snapshot {
	b.t.Helper()
	snap, err := routing.FromRing(b.ring())
	b.must(err)
	return snap
}

func (b *bed) await(what string, condition func() bool) {
	b.t.Helper()
	err := wait.PollUntilContextTimeout(b.t.Context(), pollInterval, patience, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		b.t.Fatalf("wait for %s: %v", what, err)
	}
}

// driving is a driver at work in this process.
type driving struct {
	*rebalance.Driver
	events *eventLog
	// kill cuts it off from every server, as the end of its process would.
	kill   context.CancelFunc
	dead   context.Context
	result chan result
}

type result struct {
	run *v1alpha1.Rebalance
	err error
}

type eventLog struct {
	mu  sync.Mutex
	all []rebalance.Event // guarded by mu
}

func (l *eventLog) add(e rebalance.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
}

func (l *eventLog) of(kind rebalance.EventType) []rebalance.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []rebalance.Event
	for _, e := range l.all {
		if e.Type == kind {
			out = append(out, e)
		}
	}
	return out
}

// driver is one that is not running yet.
func (b *bed) driver(identity string) *driving {
	d := &driving{events: &eventLog{}, result: make(chan result, 1)}
	d.dead, d.kill = context.WithCancel(context.Background())
	b.t.Cleanup(d.kill)
	cut := sandboxtest.Lifeline(d.dead)
	config := rest.CopyConfig(b.rcp)
	config.Wrap(cut)
	d.Driver = &rebalance.Driver{
		RCP: config, Identity: identity, LeaseDuration: lease, Tell: d.events.add, Logger: quiet(),
		WrapCell: func(_ string, config *rest.Config) { config.Wrap(cut) },
	}
	return d
}

// start runs the driver until it ends, or the test.
func (b *bed) start(d *driving, name string) {
	ctx, cancel := context.WithCancel(d.dead)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run, err := d.Run(ctx, name)
		d.result <- result{run, err}
	}()
	b.t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// finish waits for the end of the run.
func (b *bed) finish(d *driving, want v1alpha1.RebalancePhase) *v1alpha1.Rebalance {
	b.t.Helper()
	select {
	case r := <-d.result:
		b.must(r.err)
		if r.run.Status.Phase != want {
			b.t.Fatalf("the run ended %s; want %s", r.run.Status.Phase, want)
		}
		return r.run
	case <-time.After(patience):
		ring := b.ring()
		b.t.Fatalf("the run did not end; ring is %s in epoch %d; events %+v", ring.Status.Phase, ring.Status.Epoch, d.events.all[max(0, len(d.events.all)-5):])
		return nil
	}
}

// accepted creates a run for the wanted ring.
func (b *bed) accepted(spec v1alpha1.RebalanceSpec) *rebalance.Started {
	b.t.Helper()
	if spec.Window == 0 {
		spec.Window = 20
	}
	started, err := rebalance.Start(b.t.Context(), b.rcp, rebalance.StartOptions{Spec: spec, Plan: true})
	b.must(err)
	if started.Run == nil {
		b.t.Fatal("there was nothing to do")
	}
	return started
}
