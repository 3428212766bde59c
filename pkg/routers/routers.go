// Package routers follows the registered routers, and waits until they acknowledge what the Ring says.
//
// A router registers with a Lease, and says on it which epoch and window it acknowledges: it serves them, and every
// write that it had begun in earlier ones is finished. Who changes the Ring waits for that with a [Crowd].
//
// Not promised: that a router which does not acknowledge is dead. Whoever goes on without it says so by its name.
package routers

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
	"github.com/kubecell/kubectl-cell/pkg/lease"
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
	// Renewal is the last sign that it lives.
	lease.Renewal
	// AdminURL is the base of its admin port, empty where it has none.
	AdminURL string `json:"adminURL,omitempty"`
}

// Of is the router that has registered with a Lease.
func Of(registered *coordinationv1.Lease) Router {
	return Router{Name: registered.Name, Epoch: number(registered, v1alpha1.AnnotationEpoch), Window: number(registered, v1alpha1.AnnotationWindow),
		Renewal: lease.RenewalOf(registered), AdminURL: registered.Annotations[v1alpha1.AnnotationAdminURL]}
}

// Seen says in words when it last showed that it lives.
func (r Router) Seen(now lease.Moment) string {
	if r.Renewed.IsZero() {
		return "never renewed"
	}
	return "last seen " + r.Silence(now).Round(time.Second).String() + " ago"
}

// number is 0 for what is no number: that acknowledges nothing.
func number(registered *coordinationv1.Lease, annotation string) int64 {
	n, err := strconv.ParseInt(registered.Annotations[annotation], 10, 64)
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

// List reads the registered routers from the RCP. One that has died is among them until its Lease is
// deleted.
func List(ctx context.Context, kube kubernetes.Interface) ([]Router, error) {
	list, err := kube.CoordinationV1().Leases(v1alpha1.Namespace).List(ctx, metav1.ListOptions{LabelSelector: routerSelector})
	if err != nil {
		return nil, fmt.Errorf("list the routers' leases: %w", err)
	}
	out := make([]Router, len(list.Items))
	for i := range list.Items {
		out[i] = Of(&list.Items[i])
	}
	return out, nil
}

// Crowd follows the routers' Leases.
type Crowd struct {
	kube    kubernetes.Interface
	leases  cache.SharedIndexInformer
	stopped sync.WaitGroup
	report  func([]Router)

	mu      sync.Mutex
	changed chan struct{} // guarded by mu; closed at the next change
}

// NewCrowd returns a Crowd that does nothing before [Crowd.Start]. report is told who is waited for, nobody in the
// end. One wait at a time reports.
func NewCrowd(kube kubernetes.Interface, report func([]Router)) (*Crowd, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithNamespace(v1alpha1.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = routerSelector }))
	c := &Crowd{kube: kube, report: report, leases: factory.Coordination().V1().Leases().Informer(), changed: make(chan struct{})}
	_, err := c.leases.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { c.wake() }, UpdateFunc: func(any, any) { c.wake() }, DeleteFunc: func(any) { c.wake() },
	})
	if err != nil {
		return nil, fmt.Errorf("watch the routers' leases: %w", err)
	}
	return c, nil
}

// Start follows until ctx ends; [Crowd.Wait] returns then.
func (c *Crowd) Start(ctx context.Context) {
	c.stopped.Go(func() { c.leases.RunWithContext(ctx) })
}

// Wait returns when everything that Start began has ended.
func (c *Crowd) Wait() { c.stopped.Wait() }

func (c *Crowd) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Crowd) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Await returns when every registered router, but those to ignore, acknowledges the epoch and the window, which the
// Ring has already. ignore leaves those out of the routers that are waited for, and is asked again and again. What was seen of
// the Leases decides when to ask; a list that is made then decides: a router that it does not have registers later, and reads the
// Ring after that.
func (c *Crowd) Await(ctx context.Context, epoch, window int64, ignore ...func([]Router) []Router) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	told := false
	blocking := func(routers []Router) []Router {
		left := Blocking(routers, epoch, window)
		for _, without := range ignore {
			left = without(left)
		}
		return left
	}
	for {
		changed := c.next()
		var failure error
		if c.leases.HasSynced() && len(blocking(c.seen())) == 0 {
			routers, err := List(ctx, c.kube)
			if err == nil && len(blocking(routers)) == 0 {
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
			if left := blocking(c.seen()); len(left) > 0 {
				c.report(left)
				told = true
			}
		}
	}
}

func (c *Crowd) seen() []Router {
	var out []Router
	for _, object := range c.leases.GetStore().List() {
		if registered, ok := object.(*coordinationv1.Lease); ok {
			out = append(out, Of(registered))
		}
	}
	return out
}
