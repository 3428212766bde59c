package rebalance

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
)

// again is how long to wait before a server is asked again that did not answer.
const again = time.Second

// Watch tells what happens in a run to somebody who does not drive it, from its state now on, until it
// has ended. It returns the run as it ended. tell is called in one goroutine, and must not block for long.
// A server that goes away is asked again; only ctx ends that.
func Watch(ctx context.Context, rcp *rest.Config, name string, tell func(Event)) (*v1alpha1.Rebalance, error) {
	c, err := client.New(rcp)
	if err != nil {
		return nil, err
	}
	n := &narrator{tell: tell}
	var last *v1alpha1.Rebalance
	err = follow(ctx, c, name, func(run *v1alpha1.Rebalance) bool {
		for _, e := range Changes(last, run) {
			n.add(e)
		}
		last = run
		return !run.Status.Phase.Final()
	})
	return last, err
}

// follow calls visit with each state of a run, until it says that it has seen enough. A run that is not
// there is an error.
func follow(ctx context.Context, c *client.Client, name string, visit func(*v1alpha1.Rebalance) bool) error {
	for {
		run, err := c.Rebalances().Get(ctx, name, metav1.GetOptions{})
		if gone := deleted(name, err); gone != nil {
			return gone
		}
		if err == nil {
			if !visit(run) {
				return nil
			}
			if !stream(ctx, c, run, visit) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("watch rebalance %s: %w", name, context.Cause(ctx))
		case <-time.After(again):
		}
	}
}

// stream is false when visit has seen enough, and true when the watch ended.
func stream(ctx context.Context, c *client.Client, run *v1alpha1.Rebalance, visit func(*v1alpha1.Rebalance) bool) bool {
	w, err := c.Rebalances().Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", run.Name).String(), ResourceVersion: run.ResourceVersion,
	})
	if err != nil {
		return true
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		next, ok := event.Object.(*v1alpha1.Rebalance)
		if event.Type == watch.Deleted || !ok {
			return true // reading it again says what it is
		}
		if !visit(next) {
			return false
		}
	}
	return true
}

// narrator numbers and dates events, and tells one at a time.
type narrator struct {
	tell func(Event)

	mu  sync.Mutex
	seq int64 // guarded by mu
}

func (n *narrator) add(e Event) {
	if n.tell == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seq++
	e.Seq, e.Time = n.seq, time.Now().UTC()
	n.tell(e)
}
