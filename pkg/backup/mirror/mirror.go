package mirror

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// Config is what a Mirror needs.
type Config struct {
	// Ring reads the Ring as it is now. While it cannot be read nothing is deleted.
	Ring func(ctx context.Context) (*v1alpha1.Ring, error)
	// Publish writes down how far the backup of a cell has come. It is called when that has changed, and again where
	// it failed.
	Publish func(ctx context.Context, mark Mark) error
	// Published reads what was published of a cell last, by whomever; nothing where nothing was. What it names as refused is
	// unprotected until it is rehearsed, and nothing is published of a cell before it was read.
	Published func(ctx context.Context, cell string) (Mark, error)
	// Report writes down how the backup of a cell stands, every ReportEvery.
	Report func(ctx context.Context, report Report) error
	// Remade is told of an envelope that somebody had deleted or changed and that is made again; nil for nobody.
	Remade func(Remade)
	// PublishEvery is 500 ms, ReportEvery 10 s where zero.
	PublishEvery, ReportEvery time.Duration
	// RehearseEvery is the time between two rehearsals in one cell, 100 ms where zero; RefusedAgain is when one that
	// was refused is tried again, 30 s where zero.
	RehearseEvery, RefusedAgain time.Duration
	Metrics                     *Metrics
	Logger                      *slog.Logger
	Now                         func() time.Time
}

const (
	publishEvery  = 500 * time.Millisecond
	reportEvery   = 10 * time.Second
	discoverEvery = 10 * time.Second
	// bodiesLimit is how many bytes of objects are kept while they wait, in all.
	bodiesLimit = 64 << 20
)

// Mirror keeps envelopes in step. Everything that it knows is under one lock, which nobody holds while waiting.
type Mirror struct {
	config Config
	sealer *envelope.Sealer
	permit permit
	ending sync.WaitGroup // cells that are left

	mu    sync.Mutex // guards what follows, and what cells, streams, items and records say is guarded by it
	state *replication.State
	// members are the cells of the ring that can be reached: their objects are mirrored.
	members map[string]bool
	cells   map[string]*cell
	items   map[identity]*item
	// envelopes are the items by the names of their envelopes.
	envelopes map[string]*item
	// waiting are the items whose owner is not known yet.
	waiting map[*item]struct{}
	// suspects are the items that have a refusal, or had one.
	suspects map[*item]struct{}
	// bodies is how many bytes of objects are kept.
	bodies int
}

// New returns a Mirror that does nothing yet.
func New(config Config) (*Mirror, error) {
	sealer, err := envelope.NewSealer()
	if err != nil {
		return nil, err
	}
	for _, d := range []struct {
		set  *time.Duration
		zero time.Duration
	}{{&config.PublishEvery, publishEvery}, {&config.ReportEvery, reportEvery}, {&config.RehearseEvery, rehearseEvery}, {&config.RefusedAgain, refusedAgain}} {
		if *d.set == 0 {
			*d.set = d.zero
		}
	}
	return &Mirror{
		config: config, sealer: sealer, members: map[string]bool{}, cells: map[string]*cell{},
		items: map[identity]*item{}, envelopes: map[string]*item{}, waiting: map[*item]struct{}{},
		suspects: map[*item]struct{}{},
	}, nil
}

// Run mirrors until ctx ends, by the newest state that it has received. It returns nil when everything that it began has
// ended. It may be called once.
func (m *Mirror) Run(ctx context.Context, states <-chan *replication.State) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer m.end()
	defer cancel()
	running.Go(func() { m.publishLoop(ctx) })
	running.Go(func() { m.reportLoop(ctx) })
	every := time.NewTicker(discoverEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case state, ok := <-states:
			if !ok {
				return errors.New("nobody says any more which cells there are")
			}
			m.adopt(ctx, state)
		case <-every.C:
		}
		m.discoverAll(ctx)
	}
}

// end waits for what works in the cells.
func (m *Mirror) end() {
	m.mu.Lock()
	cells := m.cellList()
	m.mu.Unlock()
	for _, c := range cells {
		c.stop()
		c.running.Wait()
	}
	m.ending.Wait()
}

func (m *Mirror) cellList() []*cell {
	out := make([]*cell, 0, len(m.cells))
	for _, c := range m.cells {
		out = append(out, c)
	}
	return out
}

// snapshot is that of the newest state. There is one before anything else is known.
func (m *Mirror) snapshot() *routing.Snapshot { return m.state.Snapshot }

// adopt begins with new cells, ends with those that are gone, and looks at everything again.
func (m *Mirror) adopt(ctx context.Context, state *replication.State) {
	var ended []*cell
	m.mu.Lock()
	before := m.state
	m.state = state
	m.members = map[string]bool{}
	for _, name := range state.Snapshot.Table.Cells() {
		m.members[name] = !state.Snapshot.Unavailable[name]
	}
	for name, c := range m.cells {
		access, there := state.Cells[name]
		if there && access.Err == nil && access.Version == c.version {
			continue
		}
		m.forget(c)
		ended = append(ended, c)
	}
	for name, access := range state.Cells {
		if access.Err != nil || m.cells[name] != nil {
			continue
		}
		c, err := m.connect(name, access)
		if err != nil {
			m.config.Logger.Error("cannot connect to cell", "cell", name, "err", err)
			continue
		}
		m.cells[name] = c
		c.begin(ctx)
	}
	for name, c := range m.cells {
		if !m.members[name] {
			m.dropStreams(c)
		}
	}
	if before == nil || before.Snapshot.Epoch != state.Snapshot.Epoch || before.Snapshot.Table != state.Snapshot.Table ||
		!maps.Equal(before.Snapshot.Promoting, state.Snapshot.Promoting) || !maps.Equal(before.Snapshot.Unavailable, state.Snapshot.Unavailable) || len(ended) > 0 {
		m.lookAgain()
	}
	m.mu.Unlock()
	for _, c := range ended {
		c.stop()
		m.ending.Go(c.running.Wait)
	}
}

// lookAgain judges everything anew.
func (m *Mirror) lookAgain() {
	for _, it := range m.items {
		for _, r := range it.records {
			r.stream.cell.behind[r] = struct{}{}
		}
	}
	for _, it := range m.items {
		m.schedule(it, false)
	}
	for _, c := range m.cells {
		c.complete()
	}
}

// forget drops what is known of a cell. Its envelopes in others stay.
func (m *Mirror) forget(c *cell) {
	m.dropStreams(c)
	delete(m.cells, c.name)
	for name := range c.index {
		if it := m.envelopes[name]; it != nil {
			m.tidy(it)
		}
	}
	m.config.Metrics.forget(c.name)
}

// dropStreams ends following a cell's objects.
func (m *Mirror) dropStreams(c *cell) {
	for key := range c.streams {
		m.dropStream(c, key)
	}
	c.discovered = false
}

func (m *Mirror) dropStream(c *cell, key streamKey) {
	s := c.streams[key]
	s.stop()
	delete(c.streams, key)
	for _, h := range s.records {
		m.keepBody(h.record, nil)
		h.item.records.drop(c.name)
		if c.byUID[h.record.uid] == h {
			delete(c.byUID, h.record.uid)
		}
		m.tidy(h.item)
	}
	for r := range c.behind {
		if r.stream == s { // also what was deleted and is not settled
			delete(c.behind, r)
		}
	}
	for _, it := range m.items {
		if r := it.records.in(c.name); r != nil && r.stream == s {
			it.records.drop(c.name)
			m.tidy(it)
		}
	}
	s.records = map[name]*holder{}
}

// item returns that of an object, a new one where there is none.
func (m *Mirror) item(id identity) *item {
	it := m.items[id]
	if it == nil {
		it = &item{id: id, name: id.envelope()}
		m.items[id], m.envelopes[it.name] = it, it
	}
	return it
}

// tidy forgets an item of which nothing is left.
func (m *Mirror) tidy(it *item) {
	if len(it.records) > 0 {
		return
	}
	for _, c := range m.cells {
		if c.isBusy(it) || c.isUnsure(it) || c.index[it.name] != nil {
			return
		}
	}
	if m.items[it.id] == it {
		delete(m.items, it.id)
		delete(m.envelopes, it.name)
	}
	delete(m.waiting, it)
	delete(m.suspects, it)
}

// schedule has what an item needs done by the workers of the cells concerned, or settles it where nothing is.
func (m *Mirror) schedule(it *item, urgent bool) {
	d := m.judge(it)
	if d.primary != nil && d.unit == "" {
		m.waiting[it] = struct{}{}
	} else {
		delete(m.waiting, it)
	}
	if urgent {
		it.urgent.Store(true)
	}
	for name := range d.actions {
		m.cells[name].queue.Add(it)
	}
	if d.arriving != nil {
		m.open(d.arriving, d.arriving.version)
	}
	if d.stored {
		m.settle(it, &d)
	}
}

// settle closes the records of an item whose envelopes are right.
func (m *Mirror) settle(it *item, d *decision) {
	it.urgent.Store(false)
	if f := it.refusal; d.primary != nil && f != nil && !f.stored && !d.unsaved {
		it.refusal = nil // it fits by now, or could be read
	}
	for _, r := range slices.Clone(it.records) {
		c := r.stream.cell
		if r.stream.progress.settle(r) && d.primary == r {
			lag := m.config.Now().Sub(r.since)
			for _, home := range d.homes {
				c.lag(home).add(lag)
				m.config.Metrics.lag.WithLabelValues(c.name, home).Observe(lag.Seconds())
			}
		}
		m.keepBody(r, nil)
		if _, behind := c.behind[r]; behind {
			delete(c.behind, r)
			c.complete()
		}
		if r.gone {
			it.records.drop(c.name)
		}
	}
	m.tidy(it)
}

// open notes that a record has changed. What is found out after nobody was told for a while may have happened in all of it.
func (m *Mirror) open(r *record, version int64) {
	if _, already := r.stream.progress.open[r]; !already {
		if r.since = r.stream.deaf; r.since.IsZero() {
			r.since = m.config.Now()
		}
	}
	r.stream.progress.expect(r, version)
}

// keepBody holds an object's JSON while it waits, unless too much is held already.
func (m *Mirror) keepBody(r *record, body []byte) {
	m.bodies -= len(r.body)
	if r.body = nil; body != nil && m.bodies+len(body) <= bodiesLimit {
		r.body = body
		m.bodies += len(body)
	}
}
