package mirror

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Report is how the backup of a cell stands.
type Report struct {
	Cell string
	Time time.Time
	// Workloads are the units that live in the cell, Envelopes what it holds for others, Tombstones what has moved away.
	Workloads, Envelopes, Tombstones int64
	// Objects have to have an envelope, Pending of them have a change that is in none yet. Oldest is for how long the
	// oldest of these has been known.
	Objects, Pending int64
	Oldest           time.Duration
	// Unproven are the envelopes of its objects that were not rehearsed yet.
	Unproven int64
	// Complete says that everything that the cell has is known.
	Complete bool
	// Unprotected are the objects without an envelope that could be promoted.
	Unprotected []Unprotected
	// Unnamed is how many more have one that could not be promoted.
	Unnamed int64
	Pairs   []Pair
	// Unread are the cells that have not said which envelopes they have. Neither Pairs nor Unproven has these.
	Unread []string

	// pending and unprotected are those of the objects by where their envelopes would be, in cells that are Unread as well.
	pending, unprotected count
}

// Pair is what one cell holds for another.
type Pair struct {
	Backup    string
	Envelopes int64
	// Pending and Unprotected of the objects have, or would have, their envelope there. One whose key moves counts in both of
	// its homes, one of which nobody knows where it belongs in none.
	Pending, Unprotected int64
	// P50 and P99 of the newest lags; Samples is how many there ever were.
	P50, P99 time.Duration
	Samples  int64
}

// reportLoop reports until ctx ends.
func (m *Mirror) reportLoop(ctx context.Context) {
	ticker := time.NewTicker(m.config.ReportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, report := range m.reports() {
			if err := m.config.Report(ctx, report); err != nil && ctx.Err() == nil {
				m.config.Logger.Warn("cannot report how the backup of a cell stands", "cell", report.Cell, "err", err)
			}
		}
	}
}

// reports are those of the cells that have answered since they were connected: nobody knows what another one has, and what was
// said of it before stands.
func (m *Mirror) reports() []Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == nil {
		return nil
	}
	pairs := map[string]count{}
	for name, c := range m.cells {
		m.config.Metrics.rate.WithLabelValues(name).Set(c.pace.current())
		if !c.indexed {
			continue
		}
		for _, e := range c.index {
			if pairs[e.source] == nil {
				pairs[e.source] = count{}
			}
			pairs[e.source][name]++
		}
		m.config.Metrics.envelopes.WithLabelValues(name).Set(float64(len(c.index)))
	}
	unproven, early := m.unrehearsed()
	m.carry(early)
	unprotected, unnamed := m.nameUnprotected()
	homes := m.unprotectedByHome()
	unread := m.unindexed()
	var out []Report
	for name, c := range m.cells {
		if !m.members[name] {
			m.config.Metrics.left(name)
			continue
		}
		r := c.report(pairs[name], homes[name])
		r.Unprotected, r.Unnamed, r.Unproven, r.Unread = unprotected[name], unnamed[name], unproven[name], unread
		m.config.Metrics.between(&r)
		if c.known() {
			m.config.Metrics.standing(&r)
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Report) int { return cmp.Compare(a.Cell, b.Cell) })
	return out
}

// report is how the cell stands, with as many envelopes and unprotected objects by home.
func (c *cell) report(envelopes, unprotected count) Report {
	now := c.m.config.Now()
	r := Report{
		Cell: c.name, Time: now, Workloads: c.shardedUnits(), Envelopes: int64(len(c.index)), Complete: c.allListed(),
		pending: count{}, unprotected: unprotected,
	}
	for _, s := range c.streams {
		for _, h := range s.records {
			switch h.record.status {
			case v1alpha1.Migrated:
				r.Tombstones++
			case v1alpha1.Incoming:
			default:
				r.Objects++
			}
		}
		for open := range s.progress.open {
			r.Pending++
			r.Oldest = max(r.Oldest, now.Sub(open.since))
			if open.known == "" {
				r.pending[""]++
				continue
			}
			for _, home := range c.m.snapshot().Homes(c.name, open.known) {
				r.pending[home]++
			}
		}
	}
	for _, home := range c.homes(envelopes, r.pending, unprotected) {
		p := Pair{Backup: home, Envelopes: envelopes[home], Pending: r.pending[home], Unprotected: unprotected[home]}
		if s := c.lags[home]; s != nil {
			p.P50, p.P99, p.Samples = s.quantile(.5), s.quantile(.99), s.count
		}
		r.Pairs = append(r.Pairs, p)
	}
	return r
}

// homes are the cells, in order, that have said which envelopes they have and of which there is something to say.
func (c *cell) homes(counts ...count) []string {
	named := map[string]bool{}
	for home := range c.lags {
		named[home] = true
	}
	for _, of := range counts {
		for home := range of {
			named[home] = true
		}
	}
	maps.DeleteFunc(named, func(home string, _ bool) bool { return c.m.cells[home] == nil || !c.m.cells[home].indexed })
	return slices.Sorted(maps.Keys(named))
}
