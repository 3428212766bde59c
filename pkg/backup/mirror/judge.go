package mirror

import (
	"slices"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// action is what is to be done with the envelope of an object in one cell.
type action int

const (
	nothing action = iota
	// write makes or replaces it.
	write
	// verify reads it: somebody else has written it.
	verify
	// remove deletes it, if its object is confirmed to be gone or to have another envelope.
	remove
)

// decision is what follows from all that is known of an object. It is made anew each time, under the mirror's lock.
type decision struct {
	// primary is the record that counts, nil for none; unit and homes are its.
	primary *record
	unit    string
	homes   []string
	// actions by cell.
	actions map[string]action
	// blocked says why an envelope that is needed cannot be written now, empty where nothing is in the way.
	blocked string
	// stored says that every envelope is as it has to be, or named as unprotected.
	stored bool
	// unsaved says that one is not, and cannot be: the refusal says why.
	unsaved bool
	// arriving is the copy of an object that has left the cell which it moves from, until it counts. It has no envelope as
	// from its new cell yet; nil for none.
	arriving *record
}

// judge decides what is to be done for an object. It asks nobody.
func (m *Mirror) judge(it *item) decision {
	d := decision{actions: map[string]action{}}
	d.primary, d.unit = m.primary(it)
	if d.primary == nil {
		m.judgeAbsent(it, &d)
		return d
	}
	if d.unit == "" {
		return d // its owner is yet to come
	}
	d.homes = m.snapshot().Homes(d.primary.stream.cell.name, d.unit)
	d.stored = true
	given := it.refusal.standsFor(d.primary) && !it.refusal.stored
	for _, home := range d.homes {
		switch what := m.judgeHome(it, &d, home); {
		case what == nothing:
		case given && what == write:
			d.stored, d.unsaved = d.stored && it.refusal.listed, true
			if it.refusal.passes() {
				d.actions[home] = what
			}
		default:
			d.actions[home], d.stored = what, false
		}
	}
	if d.blocked != "" {
		d.stored = false
	}
	if !d.stored || given {
		return d
	}
	for _, cell := range m.cells {
		if slices.Contains(d.homes, cell.name) {
			continue
		}
		switch e := cell.index[it.name]; {
		case e != nil && m.ours(e):
			d.actions[cell.name] = remove
		case e == nil && cell.isUnsure(it):
			d.actions[cell.name] = verify
		}
	}
	return d
}

// judgeHome looks at the envelope in one home of the primary.
func (m *Mirror) judgeHome(it *item, d *decision, home string) action {
	cell := m.cells[home]
	if cell == nil || !cell.indexed {
		d.blocked = "cell " + home + " does not answer"
		return nothing
	}
	e := cell.index[it.name]
	if cell.isBusy(it) {
		d.stored = false // whatever is there is about to be another one, or none
	}
	switch {
	case e == nil:
		return write
	case e.problem != "" && e.promoted == "":
		return write
	case e.suspect, cell.isUnsure(it):
		return verify
	case !m.ours(e):
		d.blocked = "the envelope of the object in cell " + e.source + ", which was failed over, is still to be promoted"
		return nothing
	case e.holds(d.primary, d.unit):
		return nothing
	}
	return write
}

// judgeAbsent looks for envelopes of what does not count anywhere.
func (m *Mirror) judgeAbsent(it *item, d *decision) {
	var arriving *record
	left := false
	for _, r := range it.records {
		if !r.gone && r.status == v1alpha1.Incoming {
			arriving = r
		}
		left = left || !r.gone && r.status == v1alpha1.Migrated
	}
	if arriving != nil && left {
		d.arriving = arriving // it is about to count
		return
	}
	d.stored = m.allIndexed()
	for _, cell := range m.cells {
		e := cell.index[it.name]
		if cell.isBusy(it) {
			d.stored = false // one may be on its way
		}
		if cell.isUnsure(it) && (e == nil || !m.ours(e)) { // or have arrived
			d.stored = false
			d.actions[cell.name] = verify
		}
		if e == nil || !m.ours(e) {
			continue
		}
		d.stored = false
		if m.readable(it, e) {
			d.actions[cell.name] = remove
		}
	}
}

// allIndexed says whether the envelopes in every cell of the ring are known. While those in one are not, any deletion may
// have left one there.
func (m *Mirror) allIndexed() bool {
	for name := range m.members {
		if c := m.cells[name]; c == nil || !c.indexed {
			return false
		}
	}
	return true
}

// unindexed are the cells of which the envelopes are not known, by name.
func (m *Mirror) unindexed() []string {
	var out []string
	for name := range m.members {
		if m.cells[name] == nil {
			out = append(out, name)
		}
	}
	for name, c := range m.cells {
		if !c.indexed {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// ours says whether an envelope is the mirror's to change: its source is a cell that lives, and it was not promoted.
func (m *Mirror) ours(e *entry) bool {
	snap := m.snapshot()
	return e.promoted == "" && e.problem == "" && !snap.Unavailable[e.source] && !snap.Promoting[e.source]
}

// readable says whether every cell that could have the object of an envelope has said what it has of that resource.
func (m *Mirror) readable(it *item, e *entry) bool {
	for _, name := range m.asked(e) {
		cell := m.cells[name]
		if cell == nil {
			return false
		}
		if !m.members[name] {
			continue // it is asked before the deletion
		}
		s := cell.streams[streamKey{it.id.group, it.id.resource}]
		if s == nil || !s.listed {
			return false
		}
	}
	return true
}

// asked are the cells that may have the object of an envelope.
func (m *Mirror) asked(e *entry) []string {
	out := []string{e.source}
	if place, placed := m.snapshot().Table.LookupKey(e.unit); placed {
		for _, cell := range []string{place.Old(), place.New()} {
			if !slices.Contains(out, cell) {
				out = append(out, cell)
			}
		}
	}
	return out
}

// primary is the record that counts, with its unit: "" where that is not known yet.
//
// While a key moves, the object in the cell that it moves from counts unless it has left. Of several copies of a
// Dependent the one in the cell of its unit counts.
func (m *Mirror) primary(it *item) (*record, string) {
	var best *record
	var bestUnit string
	bestRank := 0
	for _, r := range it.records {
		if !r.shows() {
			continue
		}
		name := r.stream.cell.name
		unit := m.unitOf(it, r)
		rank := 1
		if unit != "" {
			if !counts(m.snapshot(), r.stream.class, name, unit) {
				continue
			}
			if place, placed := m.snapshot().Table.LookupKey(unit); placed {
				switch name {
				case place.Old():
					rank = 3
				case place.New():
					rank = 2
				}
			}
		}
		if rank > bestRank || rank == bestRank && best != nil && name < best.stream.cell.name {
			best, bestUnit, bestRank = r, unit, rank
		}
	}
	return best, bestUnit
}

// maxOwners bounds how far owners are followed.
const maxOwners = 16

// unitOf is the key of the unit that an object belongs to, "" while that cannot be told.
func (m *Mirror) unitOf(it *item, r *record) string {
	if r.stream.class == placement.Sharded {
		if r.known == "" {
			r.known = r.stream.rule.Key(it.id.namespace, it.id.name)
		}
		return r.known
	}
	if r.unit != "" {
		r.known = r.unit
		return r.unit
	}
	cell := r.stream.cell
	for at, n := r, 0; n < maxOwners; n++ {
		id, owner := cell.owner(at)
		if owner == nil {
			break
		}
		if owner.stream.class == placement.Sharded {
			r.known = owner.stream.rule.Key(id.namespace, id.name)
			return r.known
		}
		if owner.unit != "" {
			r.known = owner.unit
			return r.known
		}
		at = owner
	}
	// The owner is gone, or was never there. What was known of it still says where the envelope is.
	if r.known == "" && cell.allListed() {
		r.known = placement.NamespacedName.Key(it.id.namespace, it.id.name)
	}
	return r.known
}
