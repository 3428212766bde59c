package mirror

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// readPublished reads what was published of each cell of the ring: by an earlier daemon, or by this one before the way to the
// cell has changed.
func (m *Mirror) readPublished(ctx context.Context) {
	for _, c := range m.unread() {
		mark, err := m.config.Published(ctx, c.name)
		if err != nil {
			if ctx.Err() == nil {
				m.config.Logger.Warn("cannot read what was published of a cell, publishing nothing of it", "cell", c.name, "err", err)
			}
			continue
		}
		m.mu.Lock()
		c.published = &mark
		m.mu.Unlock()
	}
}

func (m *Mirror) unread() []*cell {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(m.cellList(), func(c *cell) bool { return !m.members[c.name] || c.published != nil })
}

// inherit has what was published of a cell count again, once everything that it has is known: it takes long until everything
// is rehearsed, and what was refused is unprotected meanwhile.
func (m *Mirror) inherit() {
	for name, c := range m.cells {
		if c.inherited || c.published == nil || c.settled == 0 && !c.allListed() {
			continue
		}
		c.inherited = true
		for i := range c.published.Unprotected {
			m.refuseAgain(c, &c.published.Unprotected[i])
		}
		if c.published.ControlPlane == m.snapshot().ControlPlanes[name] {
			c.carried = c.published.Unnamed
		}
		c.published = &Mark{}
	}
}

// refuseAgain has an object count as refused that was named so, if it is still there and was not accepted since. It is
// rehearsed among the first. What has no envelope is found out again before everything is stored.
func (m *Mirror) refuseAgain(c *cell, u *Unprotected) {
	h := c.named(u)
	if h == nil {
		return
	}
	if !u.Envelope {
		c.unsaved = append(c.unsaved, *u)
		return
	}
	it := h.item
	if !it.rehearsedIn(u.Backup, h.record.uid) {
		it.note(u.Backup, proof{uid: h.record.uid, refused: true})
	}
	if f := it.refusal; f != nil {
		if f.uid == h.record.uid && f.reason == u.Reason {
			f.since = u.Since
		}
		return
	}
	if !it.proven[u.Backup].refused {
		return
	}
	it.refusal = &refusal{
		uid: h.record.uid, version: h.record.version, cell: u.Backup, reason: u.Reason, message: u.Message, since: u.Since,
		stored: true, listed: true,
	}
	m.suspects[it] = struct{}{}
}

// named is the object that was named, nil where the cell has another one or none.
func (c *cell) named(u *Unprotected) *holder {
	s := c.streams[streamKey{u.Group, u.Resource}]
	if s == nil {
		return nil
	}
	if h := s.records[name{u.Namespace, u.Name}]; h != nil && h.record.uid == types.UID(u.UID) {
		return h
	}
	return nil
}

// stillUnsaved are the objects of a cell that were named as having no envelope, and of which nobody has found out since whether
// they could have one: the cell that it would be in does not answer.
func (c *cell) stillUnsaved() []Unprotected {
	c.unsaved = slices.DeleteFunc(c.unsaved, func(u Unprotected) bool {
		h := c.named(&u)
		if h == nil || h.item.refusal != nil {
			return true
		}
		_, open := h.record.stream.progress.open[h.record]
		return !open
	})
	return c.unsaved
}

// unrehearsed counts, by the cells that their objects are in, the envelopes of which nobody knows whether they could be
// promoted: all of them, and the early ones, which were there when the envelopes were first listed. What an earlier daemon saw
// refused and did not name is among these.
func (m *Mirror) unrehearsed() (all, early map[string]int64) {
	all, early = map[string]int64{}, map[string]int64{}
	for name, c := range m.cells {
		for secret, e := range c.index {
			it := m.envelopes[secret]
			if it == nil || e.problem != "" || !m.ours(e) || it.rehearsedIn(name, e.uid) {
				continue
			}
			all[e.source]++
			if it.early {
				early[e.source]++
			}
		}
	}
	return all, early
}

// carry has no more count as refused, of what was not named, than was not rehearsed yet.
func (m *Mirror) carry(early map[string]int64) {
	if !m.allIndexed() {
		return
	}
	for name, c := range m.cells {
		c.carried = min(c.carried, early[name])
	}
}
