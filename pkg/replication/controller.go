package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"

	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

const (
	// settle is how long after an event an object is looked at: the router that caused it is about to
	// push, and several events become one look.
	settle = 200 * time.Millisecond
	// discoverEvery is how often the RCP is asked which resources it serves, beside after a change of
	// its definitions.
	discoverEvery = time.Minute
	// discoverAgain is when it is asked once more after such a change: a definition is served a moment
	// after it is established.
	discoverAgain = 2 * time.Second
)

// State is what a Controller has to know of the federation. It never changes.
type State struct {
	Snapshot *routing.Snapshot
	// Cells are all cells of the federation, in the ring or not, but those that were failed over: these
	// are neither written to nor waited for until they are failed back.
	Cells map[string]Access
}

// Access is the way to a cell.
type Access struct {
	// Config has the rights of an administrator of the Replicated resources; nil where Err is not.
	Config *rest.Config
	// Version tells one Config from another: connections are kept while it is the same.
	Version string
	// Err says why the cell cannot be reached.
	Err error
}

// ControllerConfig is what a Controller needs.
type ControllerConfig struct {
	// RCP is the client configuration for the router control plane.
	RCP     *rest.Config
	Logger  *slog.Logger
	Metrics *Metrics
	Now     func() time.Time
	// Report writes down how the copies of a cell stand. It is called when that has changed, and again a second
	// later where it failed; nil where nobody asks.
	Report func(ctx context.Context, cell string, v Verdict) error
}

// Controller repairs copies for as long as it runs, and lets sources go that waited for their copies.
//
//	RCP ── metadata of sources ──▶ source event ──▶ queue of each cell ─▶ push ──▶ cell
//	cell ─ metadata of copies ───▶ copy event ────▶ queue of that cell ─▶ push ──▶ cell
//	  both: a list, at first and after a gap ──▶ compare the whole resource ──▶ queue of that cell
//	cell: comparisons, repairs, watches ──▶ standing ──▶ verdict, where it is another one ──▶ Report
//	  being deleted, in any of both ──▶ releases ─▶ ask all cells ──▶ finalizer taken off in the RCP
//	  a quota, in any of both ────────▶ divisions ─▶ Quotas.Settle ──▶ parts in the cells, sum of use in the RCP
//
// Triggers: any change of a source or a copy; a list of either; a new [State]; every ten minutes.
// Reads: the Replicated resources of the RCP and of every cell.
// Writes: copies in the cells; in the RCP finalizers, the condition CellsRemaining, the records of quotas and what
// is used of them.
// Why it may run twice: each look at an object reads both sides anew and writes with preconditions. It
// runs in one daemon by a Lease all the same, since two do the same work twice.
// After a crash: the next one begins with lists, which compare everything.
//
// Each cell has a queue and workers of its own, so that a dead one holds up no other.
type Controller struct {
	config ControllerConfig
	rcp    dynamic.Interface
	meta   metadata.Interface
	// rediscover asks for the resources to be looked up again.
	rediscover chan struct{}
	// divideAll asks for all quotas to be divided anew.
	divideAll chan struct{}
	releases  workqueue.TypedRateLimitingInterface[Object]
	// divisions are the quotas that are to be divided anew.
	divisions workqueue.TypedRateLimitingInterface[Object]
	running   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	state   *State
	cells   map[string]*cellSync
	sources map[schema.GroupVersionResource]*source
	// waiting are the sources that are being deleted and wait for cells.
	waiting map[Object]bool
}

// source is one Replicated resource of the RCP that is followed.
type source struct {
	cancel context.CancelFunc
	// once is closed after the first list: no compare before it, or what changes in between is missed.
	once   chan struct{}
	closed sync.Once
}

// NewController returns a Controller that does nothing yet.
func NewController(config ControllerConfig) (*Controller, error) {
	rcp := rest.CopyConfig(config.RCP)
	rcp.QPS, rcp.Burst = -1, -1
	c := &Controller{
		config:     config,
		rediscover: make(chan struct{}, 1),
		divideAll:  make(chan struct{}, 1),
		releases:   newQueue(),
		divisions:  newQueue(),
		cells:      map[string]*cellSync{},
		sources:    map[schema.GroupVersionResource]*source{},
		waiting:    map[Object]bool{},
	}
	var err error
	if c.rcp, err = dynamic.NewForConfig(rcp); err != nil {
		return nil, fmt.Errorf("build client of the RCP: %w", err)
	}
	if c.meta, err = metadata.NewForConfig(metadata.ConfigFor(rcp)); err != nil {
		return nil, fmt.Errorf("build metadata client of the RCP: %w", err)
	}
	c.config.RCP = rcp
	return c, nil
}

// Run repairs until ctx ends, by the newest state that it has received. It returns nil when everything
// that it began has ended. It may be called once.
func (c *Controller) Run(ctx context.Context, states <-chan *State) error {
	defer c.running.Wait()
	defer c.releases.ShutDown()
	defer c.divisions.ShutDown()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range releaseWorkers {
		c.running.Go(func() { c.releaseLoop(ctx) })
	}
	for range divideWorkers {
		c.running.Go(func() { c.divideLoop(ctx) })
	}
	c.running.Go(func() { c.divideAllLoop(ctx) })
	if c.config.Report != nil {
		c.running.Go(func() { c.reportLoop(ctx) })
	}
	every := time.NewTicker(discoverEvery)
	defer every.Stop()
	again := time.NewTimer(discoverEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case state, ok := <-states:
			if !ok {
				return errors.New("nobody says any more which cells there are")
			}
			c.adopt(ctx, state)
		case <-c.rediscover:
			again.Reset(discoverAgain)
		case <-again.C:
		case <-every.C:
		}
		if err := c.followAll(ctx); err != nil && ctx.Err() == nil {
			c.config.Logger.Error("cannot find out what to replicate, keeping to what is known", "err", err)
			again.Reset(discoverAgain)
		}
	}
}

// adopt begins with new cells, ends with those that are gone, and looks again at what a new state
// decides otherwise: quotas, and who is waited for.
func (c *Controller) adopt(ctx context.Context, state *State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = state
	shares := SharesOf(state.Snapshot)
	for name, running := range c.cells {
		access, ok := state.Cells[name]
		if ok && access.Err == nil && access.Version == running.version {
			running.setShares(shares)
			continue
		}
		running.stop()
		delete(c.cells, name)
		if !ok {
			c.config.Metrics.forget(name)
		}
	}
	for name, access := range state.Cells {
		if access.Err != nil || c.cells[name] != nil {
			continue
		}
		started, err := c.startCell(ctx, name, access, shares)
		if err != nil {
			c.config.Logger.Error("cannot connect to cell", "cell", name, "err", err)
			continue
		}
		c.cells[name] = started
	}
	for o := range c.waiting {
		c.releases.Add(o)
	}
	c.divideAllSoon()
}

// followAll has the sources of every Replicated resource followed, and their copies in every cell.
func (c *Controller) followAll(ctx context.Context) error {
	c.mu.Lock()
	state := c.state
	c.mu.Unlock()
	if state == nil {
		return nil
	}
	resources, silent, err := discover(c.config.RCP, state.Snapshot.Classes)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := map[schema.GroupVersionResource]bool{}
	for _, resource := range resources {
		wanted[resource] = true
		if c.sources[resource] == nil {
			c.sources[resource] = c.followSource(ctx, resource)
		}
	}
	for resource, source := range c.sources {
		if _, unknown := silent[resource.GroupVersion()]; !wanted[resource] && !unknown {
			source.cancel()
			delete(c.sources, resource)
		}
	}
	for _, cell := range c.cells {
		cell.follow(ctx, maps.Clone(c.sources))
	}
	return nil
}

// followSource sends what happens to the sources of a resource to the queues of all cells.
func (c *Controller) followSource(ctx context.Context, resource schema.GroupVersionResource) *source {
	ctx, cancel := context.WithCancel(ctx)
	s := &source{cancel: cancel, once: make(chan struct{})}
	f := &follower{
		resource: resource,
		listed: func(objects []*metav1.PartialObjectMetadata) {
			for _, object := range objects {
				c.noteLeaving(resource, object)
			}
			s.closed.Do(func() { close(s.once) })
			if resource == quotas {
				c.divideAllSoon()
			}
			for _, cell := range c.cellList() {
				cell.compareSoon(resource)
			}
		},
		changed: func(object *metav1.PartialObjectMetadata, _ bool) {
			c.noteLeaving(resource, object)
			if o, ok := c.replicated(resource, object); ok {
				for _, cell := range c.cellList() {
					cell.queue.AddAfter(o, settle)
				}
				c.divideSoon(o)
				if IsDefinition(o) {
					c.discoverSoon()
				}
			}
		},
	}
	c.running.Go(func() { f.run(ctx, c.meta) })
	return s
}

// replicated says whether an object that is in a Replicated resource is replicated itself.
func (c *Controller) replicated(resource schema.GroupVersionResource, object *metav1.PartialObjectMetadata) (Object, bool) {
	o := Object{Resource: resource, Namespace: object.Namespace, Name: object.Name}
	c.mu.Lock()
	defer c.mu.Unlock()
	class, _ := c.state.Snapshot.Classes.Of(resource.Group, resource.Resource, object.Namespace)
	return o, class == placement.Replicated && !Excluded(o)
}

func (c *Controller) discoverSoon() {
	select {
	case c.rediscover <- struct{}{}:
	default:
	}
}

func (c *Controller) cellList() []*cellSync {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*cellSync, 0, len(c.cells))
	for _, cell := range c.cells {
		out = append(out, cell)
	}
	return out
}
