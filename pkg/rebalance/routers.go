package rebalance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

const (
	// reportEvery is how often it is said for whom one waits.
	reportEvery = time.Second
	// routerSelector finds the routers' Leases.
	routerSelector = v1alpha1.LabelComponent + "=router"
)

// Router is a registered router and what it acknowledges.
type Router struct {
	Name string `json:"name"`
	// Epoch and Window are 0 where it acknowledges nothing.
	Epoch  int64 `json:"epoch"`
	Window int64 `json:"window"`
	// Renewed is when it last showed that it lives; zero where it never did.
	Renewed time.Time `json:"renewed"`
}

func routerOf(lease *coordinationv1.Lease) Router {
	r := Router{Name: lease.Name, Epoch: number(lease, v1alpha1.AnnotationEpoch), Window: number(lease, v1alpha1.AnnotationWindow)}
	if lease.Spec.RenewTime != nil {
		r.Renewed = lease.Spec.RenewTime.Time
	}
	return r
}

// number is 0 for what is no number: that acknowledges nothing.
func number(lease *coordinationv1.Lease, annotation string) int64 {
	n, err := strconv.ParseInt(lease.Annotations[annotation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Blocking are the registered routers that do not acknowledge an epoch and a window, by name.
func Blocking(routers []Router, epoch, window int64) []Router {
	var out []Router
	for _, r := range routers {
		if r.Epoch < epoch || r.Window < window {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Router) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Routers reads the registered routers from the RCP. One that has died is among them until its Lease is
// deleted.
func Routers(ctx context.Context, kube kubernetes.Interface) ([]Router, error) {
	list, err := kube.CoordinationV1().Leases(v1alpha1.Namespace).List(ctx, metav1.ListOptions{LabelSelector: routerSelector})
	if err != nil {
		return nil, fmt.Errorf("list the routers' leases: %w", err)
	}
	out := make([]Router, len(list.Items))
	for i := range list.Items {
		out[i] = routerOf(&list.Items[i])
	}
	return out, nil
}

// crowd follows the routers' Leases.
type crowd struct {
	kube    kubernetes.Interface
	leases  cache.SharedIndexInformer
	stopped sync.WaitGroup
	// report is told who is waited for, nobody in the end. One wait at a time reports.
	report func([]Router)

	mu      sync.Mutex
	changed chan struct{} // guarded by mu; closed at the next change
}

func newCrowd(kube kubernetes.Interface, report func([]Router)) (*crowd, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithNamespace(v1alpha1.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = routerSelector }))
	c := &crowd{kube: kube, report: report, leases: factory.Coordination().V1().Leases().Informer(), changed: make(chan struct{})}
	_, err := c.leases.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { c.wake() }, UpdateFunc: func(any, any) { c.wake() }, DeleteFunc: func(any) { c.wake() },
	})
	if err != nil {
		return nil, fmt.Errorf("watch the routers' leases: %w", err)
	}
	return c, nil
}

// start follows until ctx ends; wait returns then.
func (c *crowd) start(ctx context.Context) {
	c.stopped.Go(func() { c.leases.RunWithContext(ctx) })
}

func (c *crowd) wait() { c.stopped.Wait() }

func (c *crowd) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *crowd) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// await returns when every registered router acknowledges the epoch and the window, which the Ring has
// already. What was seen of the Leases decides when to ask; a list that is made then decides: a router that
// it does not have registers later, and reads the Ring after that.
func (c *crowd) await(ctx context.Context, epoch, window int64) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	told := false
	for {
		changed := c.next()
		var failure error
		if c.leases.HasSynced() && len(Blocking(c.seen(), epoch, window)) == 0 {
			routers, err := Routers(ctx, c.kube)
			if err == nil && len(Blocking(routers, epoch, window)) == 0 {
				if told {
					c.report(nil)
				}
				return nil
			}
			failure = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for the routers: %w", context.Cause(ctx)), failure)
		case <-changed:
		case <-tick.C:
			if blocking := Blocking(c.seen(), epoch, window); len(blocking) > 0 {
				c.report(blocking)
				told = true
			}
		}
	}
}

func (c *crowd) seen() []Router {
	var out []Router
	for _, object := range c.leases.GetStore().List() {
		if lease, ok := object.(*coordinationv1.Lease); ok {
			out = append(out, routerOf(lease))
		}
	}
	return out
}
