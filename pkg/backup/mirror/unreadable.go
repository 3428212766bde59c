package mirror

import apierrors "k8s.io/apimachinery/pkg/api/errors"

// passes says whether what keeps an object from having an envelope may be over at any time, so that it is tried on and on.
func (f *refusal) passes() bool { return f.reason == Unreadable }

// unreadable notes that the envelope of an object has to be made, and that its cell cannot be read: should that be dead, the
// object is lost, or a state of it. One that has an envelope in another cell where it has to be is as safe as before.
func (m *Mirror) unreadable(c *cell, it *item, t *task, why error) {
	if apierrors.IsTooManyRequests(why) {
		return // it lives
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.items[it.id] != it {
		return
	}
	d := m.judge(it)
	if d.primary == nil || d.primary.uid != t.record.uid || d.primary.version != t.record.version || m.heldFor(it, &d) {
		return
	}
	if f := it.refusal; f.standsFor(d.primary) && f.reason == Unreadable {
		return // with what was found first: the list does not change for the words of an error
	}
	m.note(it, &refusal{uid: t.record.uid, version: t.record.version, cell: c.name, reason: Unreadable, message: why.Error()})
}

// heldFor says whether an envelope of the primary as it is stands in one of its homes.
func (m *Mirror) heldFor(it *item, d *decision) bool {
	for _, home := range d.homes {
		cell := m.cells[home]
		if cell == nil {
			continue
		}
		if e := cell.index[it.name]; e != nil && e.problem == "" && m.ours(e) && e.holds(d.primary, d.unit) {
			return true
		}
	}
	return false
}
