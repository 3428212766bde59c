package rebalance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
)

// publishEvery is how often progress is written down, unless something of note happens.
const publishEvery = time.Second

// publisher writes the status of a run, and tells what changed.
type publisher struct {
	client  *client.Client
	record  *recorder
	tracker *tracker
	logger  *slog.Logger
	tell    *narrator

	mu sync.Mutex
	// The rest is guarded by mu.
	// told is what was told last; run is the newest that the server gave.
	told, run *v1alpha1.Rebalance
}

// serve publishes until ctx ends, or another driver has ended the run, which is errEnded.
func (p *publisher) serve(ctx context.Context) error {
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		case <-p.tracker.kick:
		}
		err := p.publish(ctx)
		if errors.Is(err, errEnded) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			p.logger.Warn("cannot write the status of the rebalance, trying again", "err", err)
		}
	}
}

// saw takes a state from the server, unless it is older than the one that is known.
func (p *publisher) saw(run *v1alpha1.Rebalance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !older(run, p.run) {
		p.run = run
	}
}

// publish writes the status if it is another one, and not any more once the run has ended. Where another driver has ended
// it, the error is errEnded.
func (p *publisher) publish(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.run.DeepCopy()
	next.Status = p.tracker.snapshot(time.Now())
	if p.endedElsewhere(&next.Status) {
		return errEnded
	}
	if !next.Status.Phase.Final() { // which is told even where it cannot be written
		p.changed(next)
	}
	if err := p.write(ctx, next); err != nil {
		return err
	}
	p.changed(next)
	return nil
}

// changed tells and records what is new.
func (p *publisher) changed(next *v1alpha1.Rebalance) {
	changes := Changes(p.told, next)
	for _, e := range changes {
		p.tell.add(e)
	}
	p.record.changes(p.told, next, changes)
	p.told = next
}

func (p *publisher) write(ctx context.Context, next *v1alpha1.Rebalance) error {
	for ctx.Err() == nil {
		switch {
		case p.endedElsewhere(&next.Status):
			return errEnded
		case p.run.Status.Phase.Final(), equality.Semantic.DeepEqual(p.run.Status, next.Status):
			return nil
		}
		written, err := p.client.Rebalances().UpdateStatus(ctx, next, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		switch {
		case err == nil:
			p.run = written
			return nil
		case !apierrors.IsConflict(err):
			return err
		}
		// The spec was changed, or the other driver of a moment ago still writes: what this one knows is newer.
		fresh, err := p.client.Rebalances().Get(ctx, next.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		p.run = fresh
		status := next.Status
		next = fresh.DeepCopy()
		next.Status = status
	}
	return ctx.Err()
}

// commit writes the epoch in which the run ends, in that version of it: a conflict says that it was changed meanwhile.
func (p *publisher) commit(ctx context.Context, run *v1alpha1.Rebalance, epoch int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if run.Status.ToEpoch != epoch {
		next := run.DeepCopy()
		next.Status.ToEpoch = epoch
		written, err := p.client.Rebalances().UpdateStatus(ctx, next, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		if err != nil {
			return fmt.Errorf("write the status of rebalance %s: %w", run.Name, err)
		}
		p.run = written
	}
	p.tracker.edit(func(s *v1alpha1.RebalanceProgress) { s.ToEpoch = epoch })
	return nil
}

// endedElsewhere says whether the run has ended in another way than this driver is about to write, or has written.
func (p *publisher) endedElsewhere(own *v1alpha1.RebalanceProgress) bool {
	run := &p.run.Status
	return run.Phase.Final() && (run.Phase != own.Phase || run.Driver != own.Driver || !run.CompletionTime.Equal(own.CompletionTime))
}
