package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/pause"
	"github.com/kubecell/kubectl-cell/pkg/replication"
)

// Problem is what is wrong with the backup of an object.
type Problem string

// The problems.
const (
	// Missing: there is no envelope in a cell that has to have one.
	Missing Problem = "Missing"
	// Stale: the envelope holds an earlier state.
	Stale Problem = "Stale"
	// Corrupt: the envelope does not hold what it says.
	Corrupt Problem = "Corrupt"
	// Unpromotable: its cell would refuse the object in it.
	Unpromotable Problem = "Unpromotable"
	// Orphaned: an envelope of what is gone, or has its envelopes in other cells.
	Orphaned Problem = "Orphaned"
	// Waiting: it cannot be made, since something is in the way.
	Waiting Problem = "Waiting"
)

// Finding is one problem.
type Finding struct {
	// Object is "deployments.apps payments/checkout", and empty where not even that can be read.
	Object string `json:"object,omitempty"`
	// Source has the object, Cell the envelope, or should have it.
	Source   string  `json:"source,omitempty"`
	Cell     string  `json:"cell"`
	Envelope string  `json:"envelope"`
	Problem  Problem `json:"problem"`
	Message  string  `json:"message,omitempty"`
}

// VerifyOptions say how closely to look.
type VerifyOptions struct {
	// Sample is how many envelopes are read, opened and rehearsed, chosen by chance; all where it is negative.
	Sample int
	// Lag is how long what was found is given to be put right by a daemon at work, before it is found. An envelope that has
	// by then what its object was at first is no finding, whatever the object is by then.
	Lag time.Duration
}

// Verified is what was looked at and found.
type Verified struct {
	// Objects that have to have an envelope, and Envelopes that there are.
	Objects   int `json:"objects"`
	Envelopes int `json:"envelopes"`
	// Read is how many of these were read, opened and rehearsed.
	Read     int       `json:"read"`
	Findings []Finding `json:"findings"`
}

// Verify compares the objects of all cells of the ring with the envelopes, by metadata, and reads some of the
// envelopes. It writes nothing: what it finds a daemon would mend. A cell that does not answer is an error.
func Verify(ctx context.Context, state *replication.State, options VerifyOptions) (*Verified, error) {
	first, err := look(ctx, state)
	if err != nil {
		return nil, err
	}
	defer first.close()
	out := &Verified{}
	found := first.findings(out)
	if len(found) > 0 && options.Lag > 0 {
		if pause.For(ctx, options.Lag) != nil {
			return nil, ctx.Err()
		}
		// What was on its way has arrived now. What is new on its way was not found before.
		second, err := look(ctx, state)
		if err != nil {
			return nil, err
		}
		defer second.close()
		again := map[Finding]bool{}
		for _, f := range second.findings(&Verified{}) {
			again[f] = true
		}
		found = slices.DeleteFunc(found, func(f Finding) bool { return !again[f] || first.followed(&f, second) })
	}
	read, err := first.read(ctx, options.Sample, out)
	if err != nil {
		return nil, err
	}
	out.Findings = append(found, read...)
	slices.SortFunc(out.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Problem, b.Problem), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Cell, b.Cell))
	})
	return out, nil
}

// followed says whether an envelope that was stale at this look has by a later one what its object was then. An object
// that is written to all the time is ahead of its envelope at every look.
func (m *Mirror) followed(f *Finding, later *Mirror) bool {
	if f.Problem != Stale {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.judge(m.envelopes[f.Envelope])
	e := later.cells[f.Cell].index[f.Envelope]
	return d.primary != nil && e != nil && e.problem == "" && e.holds(d.primary, d.unit)
}

// look reads what there is, and does nothing about it: the queues of its mirror have no workers.
func look(ctx context.Context, state *replication.State) (*Mirror, error) {
	m, err := New(Config{
		Metrics: NewMetrics(prometheus.NewRegistry()), Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	m.state = state
	var failed error
	for name, access := range state.Cells {
		if access.Err != nil {
			failed = errors.Join(failed, fmt.Errorf("cell %s: %w", name, access.Err))
			continue
		}
		c, err := m.connect(name, access)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("cell %s: %w", name, err))
			continue
		}
		m.cells[name] = c
	}
	for _, name := range state.Snapshot.Table.Cells() {
		m.members[name] = !state.Snapshot.Unavailable[name]
		if m.members[name] && m.cells[name] == nil && failed == nil {
			failed = fmt.Errorf("cell %s is in the ring, and cannot be reached", name)
		}
	}
	if failed == nil {
		failed = m.readAll(ctx)
	}
	if failed != nil {
		m.close()
		return nil, failed
	}
	return m, nil
}

func (m *Mirror) readAll(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for name, c := range m.cells {
		group.Go(func() error {
			if _, err := c.listIndex(ctx); err != nil {
				return fmt.Errorf("cell %s: %w", name, err)
			}
			if !m.members[name] {
				return nil
			}
			resources, err := m.resources(c)
			if err != nil {
				return fmt.Errorf("cell %s: %w", name, err)
			}
			for key, r := range resources {
				s := newStream(c, r, func() {})
				m.mu.Lock()
				c.streams[key] = s
				m.mu.Unlock()
				if err := s.list(ctx); err != nil && !apierrors.IsNotFound(err) {
					return fmt.Errorf("cell %s: %w", name, err)
				}
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			c.discovered = true
			return nil
		})
	}
	return group.Wait()
}

func (m *Mirror) close() {
	for _, c := range m.cells {
		c.queue.ShutDown()
	}
}

// findings are what a daemon would mend.
func (m *Mirror) findings(count *Verified) []Finding {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Finding
	for _, it := range m.items {
		d := m.judge(it)
		if d.primary != nil {
			count.Objects++
		}
		if d.blocked != "" {
			out = append(out, Finding{Object: it.id.String(), Source: d.primary.stream.cell.name, Envelope: it.name, Problem: Waiting, Message: d.blocked})
		}
		for cell, action := range d.actions {
			out = append(out, m.finding(it, &d, cell, action))
		}
	}
	for name, c := range m.cells {
		count.Envelopes += len(c.index)
		for secret, e := range c.index {
			if e.problem != "" && m.envelopes[secret] == nil {
				out = append(out, Finding{Cell: name, Envelope: secret, Problem: Corrupt, Message: e.problem})
			}
		}
	}
	return out
}

func (m *Mirror) finding(it *item, d *decision, cell string, what action) Finding {
	f := Finding{Object: it.id.String(), Cell: cell, Envelope: it.name}
	if d.primary != nil {
		f.Source = d.primary.stream.cell.name
	}
	e := m.cells[cell].index[it.name]
	switch {
	case what == remove:
		f.Source, f.Problem = e.source, Orphaned
	case e == nil:
		f.Problem = Missing
	case e.problem != "":
		f.Problem, f.Message = Corrupt, e.problem
	default:
		f.Problem = Stale
	}
	return f
}

// read opens and rehearses envelopes that are as they have to be by their metadata.
func (m *Mirror) read(ctx context.Context, sample int, count *Verified) ([]Finding, error) {
	type chosen struct {
		cell   *cell
		item   *item
		source string
	}
	var all []chosen
	m.mu.Lock()
	for _, c := range m.cells {
		for secret, e := range c.index {
			if it := m.envelopes[secret]; it != nil && e.problem == "" && m.ours(e) {
				all = append(all, chosen{c, it, e.source})
			}
		}
	}
	m.mu.Unlock()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if sample >= 0 {
		all = all[:min(sample, len(all))]
	}
	var out []Finding
	for _, one := range all {
		f, gone, err := one.cell.examine(ctx, one.item)
		if err != nil {
			return nil, fmt.Errorf("cell %s: %w", one.cell.name, err)
		}
		if gone {
			continue
		}
		count.Read++
		if f.Problem != "" {
			f.Source = one.source
			out = append(out, f)
		}
	}
	return out, nil
}

// examine reads one envelope. gone says that there is none any more.
func (c *cell) examine(ctx context.Context, it *item) (f Finding, gone bool, err error) {
	f = Finding{Object: it.id.String(), Cell: c.name, Envelope: it.name}
	secret, err := c.read(ctx, it)
	if secret == nil {
		return f, err == nil, err
	}
	opened, err := envelope.Open(secret)
	if err != nil {
		f.Problem, f.Message = Corrupt, err.Error()
		return f, false, nil
	}
	why, err := c.rehearse.ask(ctx, opened)
	if err != nil {
		return f, false, err
	}
	if why != nil {
		f.Problem, f.Message = Unpromotable, string(why.Outcome)+": "+why.Message
	}
	return f, false, nil
}
