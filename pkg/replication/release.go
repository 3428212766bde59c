package replication

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

const (
	// releaseWorkers is how many sources are asked about at once.
	releaseWorkers = 4
	// askTimeout bounds the question whether a cell has a copy still.
	askTimeout = 5 * time.Second
	// releaseTimeout bounds one look at all cells, and what is written of it.
	releaseTimeout = 15 * time.Second
)

// noteLeaving has a source looked at that is being deleted and waits for cells.
func (c *Controller) noteLeaving(resource schema.GroupVersionResource, object *metav1.PartialObjectMetadata) {
	o := Object{Resource: resource, Namespace: object.Namespace, Name: object.Name}
	if object.DeletionTimestamp != nil && slices.Contains(object.Finalizers, v1alpha1.FinalizerCells) {
		c.setWaiting(o, true)
		c.releases.AddAfter(o, settle)
	}
}

func (c *Controller) setWaiting(o Object, waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if waiting {
		c.waiting[o] = true
	} else {
		delete(c.waiting, o)
	}
	c.config.Metrics.waiting.Set(float64(len(c.waiting)))
}

func (c *Controller) isWaiting(o Object) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting[o]
}

// releaseLoop looks at sources that wait for cells until the queue is shut down.
func (c *Controller) releaseLoop(ctx context.Context) {
	for {
		o, shutdown := c.releases.Get()
		if shutdown {
			return
		}
		done, err := c.tryRelease(ctx, o)
		switch {
		case done:
			c.setWaiting(o, false)
			c.releases.Forget(o)
		case err != nil && ctx.Err() == nil:
			c.config.Logger.Warn("cannot let a deleted object go yet", "object", o.String(), "err", err)
			fallthrough
		default:
			c.releases.AddRateLimited(o)
		}
		c.releases.Done(o)
	}
}

// tryRelease takes the finalizer off where no cell has a copy any more, and otherwise writes on the
// source which cells have. done: there is nothing to wait for any more.
func (c *Controller) tryRelease(ctx context.Context, o Object) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	source, err := find(ctx, c.rcp, o)
	if err != nil {
		return false, fmt.Errorf("read source of %s: %w", o, err)
	}
	if source == nil || !leaving(source) || !held(source) {
		return true, nil
	}
	remaining := c.remaining(ctx, o, source)
	if len(remaining) == 0 {
		err := release(ctx, c.rcp, o, source)
		if apierrors.IsConflict(err) {
			return false, nil // it has changed since it was read
		}
		if err == nil {
			c.config.Logger.Info("all cells have let it go", "object", o.String())
		}
		return err == nil, err
	}
	reason, messages := reasonEmptying, make([]string, len(remaining))
	for i, r := range remaining {
		messages[i] = r.String()
		if r.unreachable {
			reason = reasonUnreachable
		}
	}
	return false, tellRemaining(ctx, c.rcp, o, source, reason, "waiting for "+strings.Join(messages, ", "), c.config.Now())
}

// remainder is a cell that may have a copy.
type remainder struct {
	cell        string
	unreachable bool
	deleting    bool
}

func (r remainder) String() string {
	switch {
	case r.unreachable:
		return r.cell + " (cannot be reached)"
	case r.deleting:
		return r.cell + " (is being emptied)"
	}
	return r.cell + " (has not begun)"
}

// remaining asks all cells at once for their copy of o, and returns by name those that have one of this source or do
// not answer.
func (c *Controller) remaining(ctx context.Context, o Object, source *unstructured.Unstructured) []remainder {
	c.mu.Lock()
	state := c.state
	running := make(map[string]*cellSync, len(c.cells))
	for name, cell := range c.cells {
		running[name] = cell
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex // guards out
	var out []remainder
	var asked sync.WaitGroup
	for name := range state.Cells {
		asked.Go(func() {
			r := remainder{cell: name, unreachable: true}
			if cell := running[name]; cell != nil {
				copied, err := find(ctx, cell.cell().Client, o)
				if err == nil && (copied == nil || foreignTo(source, copied)) {
					return
				}
				r.unreachable = err != nil
				r.deleting = err == nil && leaving(copied)
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, r)
		})
	}
	asked.Wait()
	slices.SortFunc(out, func(a, b remainder) int { return strings.Compare(a.cell, b.cell) })
	return out
}
