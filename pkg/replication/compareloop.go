package replication

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// compareTimeout bounds the comparison of one resource in one cell.
	compareTimeout = 2 * time.Minute
	// compareEvery is how often all copies of a resource are compared although nothing has happened.
	compareEvery = 10 * time.Minute
	// compareRetry is how long after a comparison that failed the next one is made.
	compareRetry = 3 * time.Second
)

// compareLoop compares all copies of a resource whenever it is asked to, and puts those that differ in
// the queue. It ends with ctx.
func (s *cellSync) compareLoop(ctx context.Context, resource schema.GroupVersionResource, source *source, soon <-chan struct{}) {
	select {
	case <-ctx.Done():
		return
	case <-source.once:
	}
	next := time.NewTimer(compareEvery)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-soon:
		case <-next.C:
		}
		next.Reset(compareEvery)
		if err := s.compareOnce(ctx, resource); err != nil && ctx.Err() == nil {
			s.failed(err)
			next.Reset(compareRetry)
		}
	}
}

func (s *cellSync) compareOnce(ctx context.Context, resource schema.GroupVersionResource) error {
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	s.c.mu.Lock()
	classes := s.c.state.Snapshot.Classes
	s.c.mu.Unlock()
	c := comparison{rcp: s.c.rcp, cell: s.cell(), classes: classes}
	began := s.standing.began(resource)
	_, err := c.compare(ctx, resource, func(o Object, _ bool) {
		s.standing.differs(o)
		s.queue.Add(o)
	})
	s.standing.ended(resource, began, err)
	return err
}
