package mirror

// progress is how far the envelopes of one resource of one cell have come.
//
// Events come in the order of their versions. A record is open from its first event that is not in its envelopes until
// none is left; the version before the first such event of any record is what everything up to is stored.
type progress struct {
	// position is the version of the last event, bookmark or list.
	position int64
	open     map[*record]struct{}
}

func newProgress() progress { return progress{open: map[*record]struct{}{}} }

// expect opens a record for what happened at a version or later.
func (p *progress) expect(r *record, version int64) {
	if _, already := p.open[r]; !already {
		p.open[r] = struct{}{}
		r.from = version
	}
}

// settle says that the envelopes have what a record was at a version.
func (p *progress) settle(r *record, version int64) (closed bool) {
	if _, open := p.open[r]; !open {
		return false
	}
	if version < r.latest() {
		r.from = max(r.from, version+1)
		return false
	}
	delete(p.open, r)
	return true
}

// reached is the version up to which every event is stored, 0 where there is none.
func (p *progress) reached() int64 {
	reached := p.position
	for r := range p.open {
		reached = min(reached, r.from-1)
	}
	return max(reached, 0)
}
