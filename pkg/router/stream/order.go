package stream

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// holdLimit is how long an event waits for one of another source that other streams wrote first. Each
// comes within milliseconds, unless its control plane hangs.
const holdLimit = 500 * time.Millisecond

// take puts an item behind those of its source that wait.
func (m *merger) take(i *item) {
	i.from.queue = append(i.from.queue, i)
	m.arrived = append(m.arrived, i.from)
	if i.broken {
		i.from.connected = false
	}
}

// emit writes all items whose turn it is. Where the turn is that of an item which has not come, the others
// wait for it, unless it is late.
func (m *merger) emit(late bool) error {
	for {
		i, hold := m.choose(late)
		if hold != m.holding {
			m.holding = hold
			m.held.Stop()
			if hold {
				m.held.Reset(holdLimit)
			}
		}
		if i == nil {
			return nil
		}
		if err := m.send(i); err != nil {
			return err
		}
	}
}

// choose takes the next item out of the queues. Only events that the client sees have an order: they go
// in that of the journal, and in that of their arrival where the journal has none. Choosing and entering
// is one step, so that two streams never disagree.
func (m *merger) choose(late bool) (next *item, hold bool) {
	for _, s := range m.arrived {
		i := s.head()
		m.recall(i)
		if m.vanished(i) {
			// At once: what comes in between could be the same object, made anew.
			m.Journal.mu.Lock()
			defer m.Journal.mu.Unlock()
			return m.enter(s), false
		}
		if compared := i.initial && s.Marked; !compared && !m.ordered(i) {
			return m.pop(s), false
		}
	}
	if s, wait := m.nextInitial(); s != nil {
		return m.pop(s), false
	} else if wait || len(m.arrived) == 0 {
		return nil, false
	}
	m.Journal.mu.Lock()
	defer m.Journal.mu.Unlock()
	for {
		e, n, ok := m.Journal.at(m.next)
		m.next = n
		if !ok {
			break
		}
		s := m.sources[e.slot]
		if s == nil || m.at.Raw(e.slot) == 0 || e.version <= m.at.Raw(e.slot) {
			m.next++
			continue
		}
		i := s.head()
		if i == nil && s.connected && !late {
			return nil, true
		}
		if i == nil {
			break
		}
		if i.version <= e.version {
			return m.enter(s), false
		}
		m.next++ // this stream does not get it
	}
	return m.enter(m.arrived[0]), false
}

// vanished finds out whether an event tells of the end of an object that had departed, so that the client gets it.
// Where that cannot be known the item becomes the stream's last one.
func (m *merger) vanished(i *item) bool {
	if i.initial || i.kind != watch.Deleted || i.from.left {
		return false
	}
	if kind, _ := m.Judge(i.from.Name, i.object); kind != Departed {
		return false
	}
	var err error
	if i.vanished, err = m.Vanished(i.object); err != nil {
		i.err = ErrExpired
	}
	return i.vanished
}

// nextInitial returns the source with the first of the initial events by namespace and name, once each
// source that has yet to tell all of them has one to compare; wait says that one has not.
func (m *merger) nextInitial() (first *source, wait bool) {
	if m.awaiting == 0 {
		return nil, false
	}
	for _, s := range m.sources {
		if !s.Marked || m.at.Raw(s.Slot) != 0 {
			continue
		}
		i := s.head()
		if i == nil {
			return nil, true
		}
		if first == nil || before(i.object, first.head().object) {
			first = s
		}
	}
	return first, false
}

// before is the order of keys in etcd.
func before(a, b wire.Meta) bool {
	return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
}

// ordered says whether an item is an event that other streams may write as well.
func (m *merger) ordered(i *item) bool {
	return !i.initial && i.kind != watch.Error && i.err == nil && m.shows(i)
}

// enter takes the head of s for writing; the journal is locked.
func (m *merger) enter(s *source) *item {
	i := m.pop(s)
	stood := m.at
	before := stood.Raw(s.Slot)
	stood.Set(s.Slot, i.version)
	if e, n, ok := m.Journal.at(m.next); ok && e.slot == s.Slot && e.version == i.version {
		m.next = n + 1
		m.Journal.lower(n, stood)
		m.Journal.read(m.Reader, n)
	} else {
		caughtUp := m.next == m.Journal.end()
		if n, ok := m.Journal.enter(s.Slot, i.version, stood); ok {
			m.Journal.read(m.Reader, n)
		}
		if caughtUp {
			m.next = m.Journal.end()
		}
	}
	stood.Set(s.Slot, before)
	return i
}

func (m *merger) pop(s *source) *item {
	i := s.head()
	s.pop()
	n := slices.Index(m.arrived, s)
	m.arrived = slices.Delete(m.arrived, n, n+1)
	return i
}
