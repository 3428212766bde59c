package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

const (
	// divideWorkers is how many quotas are divided at once.
	divideWorkers = 2
	// divideTimeout bounds one division; the next attempt goes on.
	divideTimeout = 15 * time.Second
	// divideEvery is how often all quotas are looked at although nothing has happened to them: what is hidden
	// changes without that.
	divideEvery = time.Minute
)

// divideSoon has a quota divided anew.
func (c *Controller) divideSoon(o Object) {
	if IsQuota(o) {
		c.divisions.AddAfter(o, settle)
	}
}

// divideAllSoon has all quotas divided anew.
func (c *Controller) divideAllSoon() {
	select {
	case c.divideAll <- struct{}{}:
	default:
	}
}

// divideAllLoop puts all quotas in the queue whenever that is asked for, and every minute. It ends with ctx.
func (c *Controller) divideAllLoop(ctx context.Context) {
	every := time.NewTicker(divideEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		case <-c.divideAll:
		}
		if err := c.queueQuotas(ctx); err != nil && ctx.Err() == nil {
			c.config.Logger.Warn("cannot look at all quotas, trying on", "err", err)
		}
	}
}

// queueQuotas puts all quotas in the queue, and those of which there is a record alone: it is dropped there.
func (c *Controller) queueQuotas(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, divideTimeout)
	defer cancel()
	sources, err := c.meta.Resource(quotas).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return fmt.Errorf("list quotas: %w", err)
	}
	there := map[string]bool{}
	for i := range sources.Items {
		o := Object{Resource: quotas, Namespace: sources.Items[i].Namespace, Name: sources.Items[i].Name}
		there[recordOf(o).Name] = true
		c.divisions.Add(o)
	}
	records, err := c.rcp.Resource(recordOf(Object{}).Resource).Namespace(v1alpha1.Namespace).List(ctx,
		metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=" + recordLabel})
	if err != nil {
		return fmt.Errorf("list the records of quotas: %w", err)
	}
	for i := range records.Items {
		if o, ok := quotaOf(&records.Items[i]); ok && !there[records.Items[i].GetName()] {
			c.divisions.Add(o)
		}
	}
	return nil
}

// divideLoop divides quotas until the queue is shut down.
func (c *Controller) divideLoop(ctx context.Context) {
	stop := context.AfterFunc(ctx, c.divisions.ShutDown)
	defer stop()
	for {
		o, shutdown := c.divisions.Get()
		if shutdown {
			return
		}
		if err := c.divide(ctx, o); err != nil && ctx.Err() == nil {
			c.config.Logger.Warn("cannot divide a quota anew, trying on", "object", o.String(), "err", err)
			c.divisions.AddRateLimited(o)
		} else {
			c.divisions.Forget(o)
		}
		c.divisions.Done(o)
	}
}

func (c *Controller) divide(ctx context.Context, o Object) error {
	ctx, cancel := context.WithTimeout(ctx, divideTimeout)
	defer cancel()
	q, ok := c.dividing()
	if !ok {
		return nil
	}
	if class, _ := q.Snapshot.Classes.Of(o.Resource.Group, o.Resource.Resource, o.Namespace); class != placement.Replicated {
		return nil // of a system namespace: it is the RCP's own
	}
	// What went wrong with one cell its own queue says, and repeats.
	settled, err := q.Settle(ctx, o, nil)
	if err != nil || !settled.Complete {
		return err
	}
	return q.Tell(ctx, o, settled.Used)
}

// dividing is what the newest state says of how to divide.
func (c *Controller) dividing() (Quotas, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == nil {
		return Quotas{}, false
	}
	clients, state := map[string]dynamic.Interface{}, c.state
	for name, cell := range c.cells {
		clients[name] = cell.client
	}
	return Quotas{RCP: c.rcp, Snapshot: state.Snapshot, Client: func(cell string) (dynamic.Interface, error) {
		if client, ok := clients[cell]; ok {
			return client, nil
		}
		return nil, errors.Join(fmt.Errorf("no way to cell %s", cell), state.Cells[cell].Err)
	}}, true
}
