package mirror

import "strconv"

// position is where the watch of a stream goes on.
func (m *Mirror) position(s *stream) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.progress.position
}

// bookmark says that a stream has come to a version without an event.
func (m *Mirror) bookmark(s *stream, version int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.progress.position = max(s.progress.position, version)
}

// dropped says whether a stream was dropped while it told something.
func (s *stream) dropped() bool {
	return s.cell.streams[streamKey{s.resource.Group, s.resource.Resource}] != s
}

func (s *stream) identity(namespace, name string) identity {
	return identity{s.resource.Group, s.resource.Resource, namespace, name}
}

// changed takes an object as its cell has it now.
func (m *Mirror) changed(s *stream, meta *metadata, version int64, body []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.dropped() {
		return
	}
	s.progress.position = max(s.progress.position, version)
	if mirrored(s.identity("", ""), meta.Namespace, meta.Name) {
		r, it := m.take(s, meta, version, body)
		m.open(r, version)
		m.schedule(it, true)
		m.ownerKnown(r)
	}
}

// take makes what a cell said the record of an object.
func (m *Mirror) take(s *stream, meta *metadata, version int64, body []byte) (*record, *item) {
	at := name{meta.Namespace, meta.Name}
	h := s.records[at]
	if h == nil {
		it := m.item(s.identity(meta.Namespace, meta.Name))
		h = &holder{item: it, record: it.records.in(s.cell.name)}
		if h.record == nil {
			h.record = &record{stream: s}
			it.records = append(it.records, h.record)
		}
		s.records[at] = h
	}
	r := h.record
	if r.uid != meta.UID {
		delete(s.cell.byUID, r.uid)
		r.known = ""
	}
	s.cell.byUID[meta.UID] = h
	m.keepBody(r, nil)
	r.take(meta, version)
	m.keepBody(r, body)
	return r, h.item
}

// ownerKnown looks again at what waited for an owner.
func (m *Mirror) ownerKnown(owner *record) {
	for it := range m.waiting {
		if r := it.records.in(owner.stream.cell.name); r != nil && r != owner {
			m.schedule(it, true)
		}
	}
}

// deleted takes the end of an object.
func (m *Mirror) deleted(s *stream, meta *metadata, version int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.dropped() {
		return
	}
	s.progress.position = max(s.progress.position, version)
	m.remove(s, name{meta.Namespace, meta.Name}, version, version)
}

// remove takes the end of an object, which came at since at the earliest, and is known at version.
func (m *Mirror) remove(s *stream, at name, since, version int64) {
	h := s.records[at]
	if h == nil {
		return
	}
	delete(s.records, at)
	r := h.record
	if s.cell.byUID[r.uid] == h {
		delete(s.cell.byUID, r.uid)
	}
	m.keepBody(r, nil)
	r.version, r.gone = version, true
	m.open(r, since)
	m.schedule(h.item, true)
}

// replace takes everything that there is of a resource, at a version.
func (m *Mirror) replace(s *stream, found []*metadata, version int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.dropped() {
		return
	}
	// Whatever is not in its envelope happened after what was known before.
	missed := s.progress.position + 1
	s.progress.position = max(s.progress.position, version)
	there := make(map[name]bool, len(found))
	var changed []*item
	for _, meta := range found {
		if !mirrored(s.identity("", ""), meta.Namespace, meta.Name) {
			continue
		}
		at := name{meta.Namespace, meta.Name}
		there[at] = true
		if h := s.records[at]; h != nil && h.record.version >= versionOf(meta.ResourceVersion) {
			continue
		}
		r, it := m.take(s, meta, versionOf(meta.ResourceVersion), nil)
		m.open(r, missed)
		s.cell.behind[r] = struct{}{}
		changed = append(changed, it)
	}
	for at := range s.records {
		if !there[at] {
			m.remove(s, at, missed, version)
		}
	}
	s.listed = true
	for _, it := range changed {
		m.schedule(it, false)
	}
	for it := range m.waiting {
		m.schedule(it, false)
	}
	m.scheduleOrphans(s)
	s.cell.complete()
}

// scheduleOrphans looks at the envelopes of what was not in a list, and of what might be in this cell.
func (m *Mirror) scheduleOrphans(s *stream) {
	for _, it := range m.items {
		if it.id.group == s.resource.Group && it.id.resource == s.resource.Resource && it.records.in(s.cell.name) == nil {
			m.orphaned(it)
			m.schedule(it, false)
		}
	}
}

// orphaned notes the deletion of an object that has envelopes and is nowhere: it went when nobody watched, and no mark
// passes that before the envelopes have gone as well.
func (m *Mirror) orphaned(it *item) {
	if primary, _ := m.primary(it); primary != nil {
		return
	}
	for _, c := range m.cells {
		e := c.index[it.name]
		if e == nil || !m.ours(e) || it.records.in(e.source) != nil {
			continue
		}
		source := m.cells[e.source]
		if source == nil {
			continue
		}
		if s := source.streams[streamKey{it.id.group, it.id.resource}]; s != nil && s.listed {
			r := &record{stream: s, uid: e.uid, version: s.progress.position, gone: true}
			it.records = append(it.records, r)
			m.open(r, min(e.version+1, r.version))
		}
	}
}

// indexed takes all envelopes that a cell has. At first they are taken for what they say; later, what has changed in
// between was changed by somebody else.
func (m *Mirror) indexed(c *cell, found map[string]*entry, version int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	again := c.indexed
	m.forgetFuture(c, found, version)
	c.heard = version
	for secret, e := range found {
		if again {
			m.written(c, secret, e)
			continue
		}
		m.hold(c, secret, e)
		if it := m.envelopes[secret]; it != nil {
			it.early = true
		}
	}
	for secret, e := range c.index {
		if _, there := found[secret]; !there && versionOf(e.secretVersion) <= version {
			m.lost(c, secret, version)
		}
	}
	c.indexed = true
	for _, it := range m.items {
		m.orphaned(it)
		m.schedule(it, false)
	}
}

// forgetFuture forgets what the cell had that its list, of a version, has not, or has in an earlier state: its data was restored
// from a copy. Where its versions go back that is all that differs. They may also have been raised above those that were told, or
// have come as far again before anybody looked: then it is what has a version up to that of the list. What is newer was written
// while the cell was listed.
func (m *Mirror) forgetFuture(c *cell, found map[string]*entry, version int64) {
	back := version < c.heard
	restored := back
	for secret, known := range c.index {
		if _, busy := c.busy[secret]; busy {
			continue // whoever writes it is told
		}
		switch now := found[secret]; {
		case now == nil && back:
			m.lost(c, secret, versionOf(known.secretVersion))
		case now == nil: // it is gone, as any other
		case back && now.secretVersion != known.secretVersion, known.newer(now) && versionOf(known.secretVersion) <= version:
			c.drop(secret)
			m.reopen(m.envelopes[secret])
			restored = true
		}
	}
	if restored {
		m.config.Logger.Warn("the envelopes of a cell are those of an earlier time: its data was restored", "cell", c.name)
	}
}

// hold puts an envelope into the index.
func (m *Mirror) hold(c *cell, secret string, e *entry) {
	c.put(secret, e)
	if e.problem == "" && m.envelopes[secret] == nil {
		m.item(e.id)
	}
}

// envelopeWritten takes an envelope as it was written, by this mirror or by somebody else.
func (m *Mirror) envelopeWritten(c *cell, secret string, e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.heard = max(c.heard, versionOf(e.secretVersion))
	m.written(c, secret, e)
}

func (m *Mirror) written(c *cell, secret string, e *entry) {
	if _, busy := c.busy[secret]; busy {
		c.busy[secret] = e // whoever writes it knows soon whether this was him
		return
	}
	if !e.newer(c.index[secret]) {
		return
	}
	e.suspect = e.problem == "" && e.promoted == ""
	m.hold(c, secret, e)
	if it := m.envelopes[secret]; it != nil {
		m.unsettle(it, e)
		m.schedule(it, true)
	}
}

// envelopeDeleted takes the end of an envelope.
func (m *Mirror) envelopeDeleted(c *cell, secret, version string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.heard = max(c.heard, versionOf(version))
	m.lost(c, secret, versionOf(version))
}

func (m *Mirror) lost(c *cell, secret string, version int64) {
	if _, busy := c.busy[secret]; busy {
		c.busy[secret] = &entry{gone: true, secretVersion: strconv.FormatInt(version, 10)}
		return
	}
	e := c.index[secret]
	if e == nil || versionOf(e.secretVersion) > version {
		return
	}
	c.drop(secret)
	it := m.envelopes[secret]
	if it == nil {
		return
	}
	if d := m.judge(it); d.primary != nil && d.actions[c.name] == write && e.source == d.primary.stream.cell.name {
		m.remade(c, it, RemadeDeleted, "somebody deleted it")
	}
	m.reopen(it)
	m.schedule(it, true)
}
