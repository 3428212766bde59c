package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
)

const (
	// pushWorkers is how many copies of one cell are repaired at once.
	pushWorkers = 4
	// pushTimeout bounds one repair; the next attempt goes on.
	pushTimeout = 20 * time.Second
	// foreignRetry is when a copy is looked at again that only an administrator can mend.
	foreignRetry = time.Minute
	// slowestRetry is the longest time between two attempts.
	slowestRetry = 10 * time.Second
)

func newQueue() workqueue.TypedRateLimitingInterface[Object] {
	return workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[Object](settle, slowestRetry))
}

// cellSync repairs the copies of one cell.
type cellSync struct {
	c       *Controller
	name    string
	version string
	client  dynamic.Interface
	meta    metadata.Interface
	shares  atomic.Pointer[Shares]
	queue   workqueue.TypedRateLimitingInterface[Object]
	// failing is set while attempts fail, so that an outage is two lines in the log.
	failing  atomic.Bool
	standing *standing

	mu       sync.Mutex // guards what follows
	followed map[schema.GroupVersionResource]*copies
}

// copies are those of one resource that are followed in one cell.
type copies struct {
	cancel context.CancelFunc
	// soon asks for a comparison.
	soon chan struct{}
}

// startCell begins to repair the copies of a cell. The workers end with stop, and with ctx.
func (c *Controller) startCell(ctx context.Context, name string, access Access, shares Shares) (*cellSync, error) {
	config := rest.CopyConfig(access.Config)
	config.QPS, config.Burst = -1, -1
	s := &cellSync{
		c: c, name: name, version: access.Version, queue: newQueue(),
		standing: newStanding(c.config.Now), followed: map[schema.GroupVersionResource]*copies{},
	}
	s.shares.Store(&shares)
	var err error
	if s.client, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("build client: %w", err)
	}
	if s.meta, err = metadata.NewForConfig(metadata.ConfigFor(config)); err != nil {
		return nil, fmt.Errorf("build metadata client: %w", err)
	}
	for range pushWorkers {
		c.running.Go(func() { s.pushLoop(ctx) })
	}
	return s, nil
}

// stop ends what startCell and follow began, without waiting for it.
func (s *cellSync) stop() {
	s.queue.ShutDown()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.followed {
		f.cancel()
	}
}

// setShares has quotas divided otherwise from now on.
func (s *cellSync) setShares(shares Shares) {
	if before := s.shares.Swap(&shares); !before.Equal(shares) {
		s.compareSoon(quotas)
	}
}

func (s *cellSync) cell() Cell {
	return Cell{Name: s.name, Client: s.client, Shares: *s.shares.Load()}
}

// follow has the copies of these resources followed, and of no others.
func (s *cellSync) follow(ctx context.Context, sources map[schema.GroupVersionResource]*source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for resource, source := range sources {
		if s.followed[resource] == nil {
			s.followed[resource] = s.followCopies(ctx, resource, source)
		}
	}
	for resource, f := range s.followed {
		if sources[resource] == nil {
			f.cancel()
			delete(s.followed, resource)
			s.standing.drop(resource)
		}
	}
}

func (s *cellSync) followCopies(ctx context.Context, resource schema.GroupVersionResource, source *source) *copies {
	ctx, cancel := context.WithCancel(ctx)
	out := &copies{cancel: cancel, soon: make(chan struct{}, 1)}
	s.standing.expect(resource)
	f := &follower{
		resource: resource,
		listed: func([]*metav1.PartialObjectMetadata) {
			s.standing.expect(resource)
			out.compareSoon()
		},
		asked: func(err error) { s.standing.watched(resource, err) },
		changed: func(object *metav1.PartialObjectMetadata, gone bool) {
			o, ok := s.c.replicated(resource, object)
			if !ok {
				return
			}
			s.queue.AddAfter(o, settle)
			s.c.divideSoon(o)
			if gone && s.c.isWaiting(o) {
				s.c.releases.Add(o)
			}
		},
	}
	s.c.running.Go(func() { f.run(ctx, s.meta) })
	s.c.running.Go(func() { s.compareLoop(ctx, resource, source, out.soon) })
	return out
}

func (f *copies) compareSoon() {
	select {
	case f.soon <- struct{}{}:
	default:
	}
}

// compareSoon has all copies of a resource compared.
func (s *cellSync) compareSoon(resource schema.GroupVersionResource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.followed[resource]; f != nil {
		s.standing.expect(resource)
		f.compareSoon()
	}
}

// pushLoop repairs copies until the queue is shut down.
func (s *cellSync) pushLoop(ctx context.Context) {
	stop := context.AfterFunc(ctx, s.queue.ShutDown)
	defer stop()
	for {
		o, shutdown := s.queue.Get()
		if shutdown {
			return
		}
		s.repair(ctx, o)
		s.queue.Done(o)
		s.c.config.Metrics.pending.WithLabelValues(s.name).Set(float64(s.queue.Len()))
	}
}

func (s *cellSync) repair(ctx context.Context, o Object) {
	attempt, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	err := push(attempt, s.c.rcp, s.cell(), o, onlyCopies, func(did outcome) {
		if did != unchanged {
			s.c.config.Metrics.repairs.WithLabelValues(s.name, o.Resource.Resource, string(did)).Inc()
			s.c.config.Logger.Info("repaired a copy", "cell", s.name, "object", o.String(), "action", did)
		}
	})
	if ctx.Err() == nil {
		s.standing.repaired(o, err)
	}
	switch {
	case err == nil:
		s.recovered()
		s.queue.Forget(o)
	case ctx.Err() != nil:
	case errors.Is(err, ErrForeign):
		s.c.config.Logger.Error("a copy needs an administrator", "cell", s.name, "object", o.String(), "err", err)
		s.c.config.Metrics.failures.WithLabelValues(s.name).Inc()
		s.queue.Forget(o)
		s.queue.AddAfter(o, foreignRetry)
	default:
		s.failed(err)
		s.queue.AddRateLimited(o)
	}
}

func (s *cellSync) failed(err error) {
	s.c.config.Metrics.failures.WithLabelValues(s.name).Inc()
	if !s.failing.Swap(true) {
		s.c.config.Logger.Warn("cannot repair copies, trying on", "cell", s.name, "err", err)
	}
}

func (s *cellSync) recovered() {
	if s.failing.Swap(false) {
		s.c.config.Logger.Info("copies can be repaired again", "cell", s.name)
	}
}
