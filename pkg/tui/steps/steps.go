// Package steps is the live view of an operation that consists of steps, some of them at the same
// time: one line a step, with its state and how long it has taken.
//
// The model is a value; [Model.Apply] and [Render] are pure. [Run] is the only part that touches a
// terminal. It never reads the keyboard: Ctrl-C stays a signal, which ends the operation's context.
package steps

import (
	"slices"
	"time"
)

// State is where a step stands.
type State int

// States of a step. Note changes no state.
const (
	Running State = iota
	Done
	Already
	Failed
	Note
)

// Event is a change of state of one step. A step that was not known begins with its first event.
type Event struct {
	Step   string
	State  State
	Detail string
	At     time.Time
	// Took is how long a step took, by whoever carried it out; where 0, the time between its events counts.
	Took time.Duration
}

// row is one step.
type row struct {
	name       string
	state      State
	detail     string
	begin, end time.Time
	took       time.Duration
}

// Model is the operation as it is shown.
type Model struct {
	// Title is the first line.
	Title string
	// Width of the terminal in columns; 80 where 0.
	Width int
	// Now is the time that elapsed times count to.
	Now time.Time

	begin time.Time
	rows  []row
	notes []string
}

// Apply returns the model after the event. The model itself is not changed.
func (m Model) Apply(e Event) Model {
	if e.At.After(m.Now) {
		m.Now = e.At
	}
	if m.begin.IsZero() {
		m.begin = e.At
	}
	if e.State == Note {
		m.notes = append(slices.Clone(m.notes), e.Step+": "+e.Detail)
		return m
	}
	m.rows = slices.Clone(m.rows)
	i := slices.IndexFunc(m.rows, func(r row) bool { return r.name == e.Step })
	if i < 0 {
		i = len(m.rows)
		m.rows = append(m.rows, row{name: e.Step, begin: e.At})
	}
	r := &m.rows[i]
	r.state, r.detail, r.took = e.State, e.Detail, e.Took
	if e.State != Running {
		r.end = e.At
	}
	return m
}

// At returns the model at a later time.
func (m Model) At(now time.Time) Model {
	if now.After(m.Now) {
		m.Now = now
	}
	return m
}
