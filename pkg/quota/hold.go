package quota

import "time"

// HoldFor is for how long a cell keeps the room that it was given for a write which it had refused. The write is sent
// again at once; but until the cell has counted it, nobody who divides the quota anew could tell that room from what
// nobody uses. It is longer than a router goes on sending.
const HoldFor = 15 * time.Second

// hold keeps the limits of cells at what they need, until that is in use or the time is up.
func (l *limit) hold() {
	for i := range l.cells {
		if c := &l.cells[i]; c.need > 0 {
			c.held = max(c.held, c.used+c.need)
		}
	}
}

// release gives up what is held: it is needed for what is in use, or for a write that is there now.
func (l *limit) release() {
	for i := range l.cells {
		l.cells[i].held = 0
	}
}

// keepHolds says until when parts are held: as they were, or from now for what was granted, nil for nothing.
func (r *Record) keepHolds(newest *Record, granted *Need, now time.Time) {
	for name, part := range r.Cells {
		switch {
		case len(part.Held) == 0:
			part.Held = nil
		case granted != nil && granted.Cell == name:
			// In whole seconds, so that who asks again does not write the record again each time.
			part.HeldUntil = now.UTC().Truncate(time.Second).Add(HoldFor)
		default:
			part.HeldUntil = newest.Cells[name].HeldUntil
		}
		r.Cells[name] = part
	}
}
