package mirror

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Reasons why an object is unprotected.
const (
	// TooLarge: it does not fit into a Secret. There is no envelope of it, or one of an earlier state.
	TooLarge = "TooLarge"
	// Refused: the backup cell would not take it. There is an envelope, which could not be promoted now.
	Refused = "Refused"
	// Unreadable: its envelope is gone, or does not have its newest state, and its cell cannot be read to make another one.
	Unreadable = "Unreadable"
)

// refusal says why an object is unprotected.
type refusal struct {
	uid     types.UID
	version int64
	cell    string
	reason  string
	message string
	since   time.Time
	// stored says that there is an envelope all the same.
	stored bool
	// listed says that it is named where marks are.
	listed bool
}

// standsFor says whether it is about a record as it is.
func (f *refusal) standsFor(r *record) bool {
	return f != nil && f.uid == r.uid && (f.stored || f.version == r.version)
}

// holds says whether marks have passed the object as it was when it was refused, so that it is to be named until an envelope
// has what it is by now.
func (f *refusal) holds(r *record) bool { return f != nil && f.listed && f.uid == r.uid }

// passed says whether marks have passed the object: it has an envelope, or was named before.
func (f *refusal) passed() bool { return f.stored || f.listed || f.reason == Unreadable }

// refuse notes that an object is unprotected.
func (m *Mirror) refuse(it *item, f *refusal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note(it, f)
}

func (m *Mirror) note(it *item, f *refusal) {
	old := it.refusal
	if old != nil && old.uid == f.uid {
		f.listed = old.listed // marks have passed it, for whatever reason it was named
	}
	if old != nil && old.uid == f.uid && old.reason == f.reason {
		f.since = old.since
	} else {
		f.since = m.config.Now()
		m.config.Logger.Warn("an object is unprotected", "object", it.id.String(), "cell", f.cell, "reason", f.reason, "message", f.message)
	}
	it.refusal = f
	m.suspects[it] = struct{}{}
}

// accept notes that an object's backup cell would take it.
func (m *Mirror) accept(it *item, cell string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if it.refusedIn(cell) {
		m.config.Logger.Info("an object is protected again", "object", it.id.String(), "cell", cell)
		it.refusal = nil
	}
}

// RemadeReason says why an envelope was made again.
type RemadeReason string

// The reasons.
const (
	RemadeDeleted RemadeReason = "Deleted"
	RemadeCorrupt RemadeReason = "Corrupt"
)

// Remade is an envelope that somebody had deleted or changed.
type Remade struct {
	// Cell has the envelope, of that name.
	Cell, Envelope string
	// Object is "deployments.apps payments/checkout".
	Object  string
	Reason  RemadeReason
	Message string
}

func (m *Mirror) remade(c *cell, it *item, reason RemadeReason, message string) {
	m.config.Metrics.remade.WithLabelValues(c.name, string(reason)).Inc()
	m.config.Logger.Warn("an envelope is made again", "cell", c.name, "envelope", it.name, "object", it.id.String(), "reason", reason, "message", message)
	if m.config.Remade != nil {
		m.config.Remade(Remade{Cell: c.name, Envelope: it.name, Object: it.id.String(), Reason: reason, Message: message})
	}
}

// unsettle opens the records of an object whose envelope is none: marks must not pass what it should have.
func (m *Mirror) unsettle(it *item, found *entry) {
	if found.problem != "" {
		m.reopen(it)
	}
}

// reopen opens the records of an object again that has not the envelope which it had; it is nil where nobody knows any.
func (m *Mirror) reopen(it *item) {
	if it == nil {
		return
	}
	for _, r := range it.records {
		m.open(r, r.version)
	}
}
