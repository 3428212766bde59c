package ledger

import (
	"slices"
	"strconv"
	"time"
)

// Report is what a router remembers of one cell. It is an API: fields are only ever added.
type Report struct {
	// Router is the name of its Lease, and Started since when it remembers.
	Router  string    `json:"router"`
	Cell    string    `json:"cell"`
	Started time.Time `json:"started"`
	// Complete says that nothing had to be given up that no backup is known to have. Otherwise the writes that were
	// given up are from between IncompleteSince and IncompleteUntil.
	Complete        bool       `json:"complete"`
	IncompleteSince *time.Time `json:"incompleteSince,omitempty"`
	IncompleteUntil *time.Time `json:"incompleteUntil,omitempty"`
	// Dropped counts the writes that were ever given up for want of room.
	Dropped int `json:"dropped"`
	// Entries are the newest writes of each object, the oldest first.
	Entries []Entry `json:"entries"`
}

// Entry is the newest write of one object.
type Entry struct {
	Cell      string `json:"cell"`
	Group     string `json:"group,omitempty"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
	// Version is the cell's own of the object, empty while that is not known. That of a deletion is no lower than the
	// one in which the object went.
	Version string `json:"version,omitempty"`
	// Verb is that of the request.
	Verb string `json:"verb"`
	// Gone says that the object exists no more. One that was deleted and still has finalizers is not gone.
	Gone bool      `json:"gone,omitempty"`
	Time time.Time `json:"time"`
}

// Report says what is remembered of a cell. The caller says who it is of, and since when.
func (l *Ledger) Report(cell string) Report {
	l.mu.RLock()
	c := l.cells[cell]
	l.mu.RUnlock()
	out := Report{Cell: cell, Complete: true, Entries: []Entry{}}
	if c != nil {
		c.report(&out)
	}
	return out
}

func (c *cell) report(out *Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out.Dropped = c.dropped
	for _, r := range c.resources {
		if r.gap.open() {
			out.miss(r.gap.from, r.gap.until)
		}
		for e := r.first; e != nil; e = e.after {
			out.Entries = append(out.Entries, e.entry(out.Cell))
		}
	}
	slices.SortFunc(out.Entries, func(a, b Entry) int { return a.Time.Compare(b.Time) })
}

// miss says that writes of an interval may be missing.
func (r *Report) miss(from, until time.Time) {
	r.Complete = false
	if r.IncompleteSince == nil || from.Before(*r.IncompleteSince) {
		r.IncompleteSince = &from
	}
	if r.IncompleteUntil == nil || until.After(*r.IncompleteUntil) {
		r.IncompleteUntil = &until
	}
}

func (e *entry) entry(cell string) Entry {
	out := Entry{
		Cell: cell, Group: e.of.name.Group, Resource: e.of.name.Resource, Namespace: e.namespace, Name: e.name, UID: e.uid,
		Verb: e.verb, Gone: e.gone, Time: e.at,
	}
	if e.version != 0 {
		out.Version = strconv.FormatInt(e.version, 10)
	}
	return out
}
