package rebalance

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// known is the Ring as this driver knows it; it is not changed.
func (r *run) known() *v1alpha1.Ring {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ring
}

// read gets the newest Ring.
func (r *run) read(ctx context.Context) error {
	ring, err := r.client.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return exit.Errorf(exit.Failure, "the router control plane has no Ring").WithHint("kubectl cell init")
	}
	if err != nil {
		return fmt.Errorf("read ring: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring = ring
	return nil
}

// write changes Ring.status as this driver knows it, and tells of the step. Where the Ring is in another
// epoch by now it fails with errSuperseded, and so does a run that has not begun where something else is wanted by now; other
// changes, such as one of the spec in the middle of the run, are kept.
func (r *run) write(ctx context.Context, step StepName, change func(*v1alpha1.Ring)) error {
	if _, err := r.update(ctx, change); err != nil {
		return err
	}
	r.Driver.step(step)
	return nil
}

func (r *run) update(ctx context.Context, change func(*v1alpha1.Ring)) (*v1alpha1.Ring, error) {
	for {
		known := r.known()
		next := known.DeepCopy()
		change(next)
		written, err := r.client.Rings().UpdateStatus(ctx, next, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		if apierrors.IsConflict(err) {
			if err := r.read(ctx); err != nil {
				return nil, err
			}
			fresh := r.known()
			if fresh.Status.Epoch != known.Status.Epoch || fresh.Status.Rebalance != known.Status.Rebalance ||
				fresh.Status.Rebalance != r.name && fresh.Generation != known.Generation { // what is to be accepted was not checked
				return nil, errSuperseded
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("write ring: %w", err)
		}
		r.mu.Lock()
		r.ring = written
		r.mu.Unlock()
		return written, nil
	}
}

// pass is one round of the barrier, in the epoch that the units were searched for. It fails with errSilent where not all
// routers acknowledge it in time: what waits refuses writes.
func (r *run) pass(ctx context.Context, epoch int64) error {
	if r.known().Status.Epoch != epoch {
		return errSuperseded
	}
	ring, err := r.update(ctx, func(ring *v1alpha1.Ring) { ring.Status.Window++ })
	if err != nil {
		return err
	}
	return r.awaitBriefly(ctx, ring.Status.Epoch, ring.Status.Window)
}
