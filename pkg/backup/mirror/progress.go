package mirror

// progress is how far the envelopes of one resource of one cell have come.
//
// Events come in the order of their versions. A record opens at the first event that its envelopes lack, and closes once they
// have what it is by then. Up to the version before the first event of any open record, everything is stored.
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

// settle closes a record whose envelopes have what it is. The result is false where it was not open.
func (p *progress) settle(r *record) bool {
	_, open := p.open[r]
	delete(p.open, r)
	return open
}

// reached is the version up to which every event is stored, 0 where there is none.
func (p *progress) reached() int64 {
	reached := p.position
	for r := range p.open {
		reached = min(reached, r.from-1)
	}
	return max(reached, 0)
}
