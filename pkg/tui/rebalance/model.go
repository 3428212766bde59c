// Package rebalance is the screen of a run of a rebalance: how far it is, what each cell has to do with it,
// what failed, and the keys that steer it.
//
//	events ──Apply──▶ Model ──Render──▶ text
//	keys ───Press──▶ Model, and a Wish that somebody else carries out
//
// A Model is a value, and all of it is pure; only [Run] touches a terminal. The screen is made of the events
// that the plain output prints as well. Not promised: that a viewer who does not drive learns of each unit
// that moves; the record of a run has only counts of them.
//
// Start reading at render.go.
package rebalance

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

const (
	// keptLines and keptFailures are how much is kept, far more than fits on a screen.
	keptLines    = 500
	keptFailures = 500
	// keptLatencies is how many measurements of a cell are drawn.
	keptLatencies = 4
)

// Model is a run as it is shown.
type Model struct {
	// Run is the name of the Rebalance.
	Run string
	// Self is the identity of this process where it drives or is going to; empty for a viewer.
	Self string
	// Successor says that a backup daemon takes the run over when this process leaves it.
	Successor bool
	// Width and Height of the terminal; 80 by 24 where 0.
	Width, Height int
	// Now is what times count to.
	Now time.Time

	phase     v1alpha1.RebalancePhase
	driver    string
	window    rebalance.WindowEvent
	why       string // why the window is smaller than wanted
	blocked   string // for which routers the run waits
	cells     string // which cells cannot be used
	stopped   string // that too many units failed
	limited   string // which units may begin
	progress  rebalance.Progress
	latencies map[string][]time.Duration // the newest last
	failures  []rebalance.Event          // by key
	lines     []string                   // the newest last

	mode     mode
	selected int
	notice   string // the answer to the last key
	leaving  bool
}

// mode is what the lower part of the screen shows.
type mode int

const (
	watching mode = iota
	helping
	detailing
	quitting
	aborting
)

// Apply returns the model after the event. The model itself is not changed.
func (m Model) Apply(e rebalance.Event) Model {
	if e.Time.After(m.Now) {
		m.Now = e.Time
	}
	switch e.Type {
	case rebalance.EventPhase:
		m.phase = e.Phase
		m = m.say(e.Time, strings.TrimSpace("the run is "+string(e.Phase)+" "+e.Message))
	case rebalance.EventDriver:
		m.driver = e.Driver
		text := cmp.Or(e.Message, "nobody drives")
		if e.Driver != "" {
			text = e.Driver + " drives"
		}
		m = m.say(e.Time, text)
	case rebalance.EventMoved:
		m = m.forget(e.Unit.Key).say(e.Time, moved(e.Unit))
	case rebalance.EventFailed:
		m = m.remember(e).say(e.Time, e.Unit.Key+" failed at "+e.Unit.Step+": "+e.Message)
	case rebalance.EventWindow:
		m.window, m.why = *e.Window, e.Message
	case rebalance.EventBlocked:
		m.blocked = e.Message
	case rebalance.EventCells:
		m.cells = e.Message
	case rebalance.EventStopped:
		m.stopped = e.Message
	case rebalance.EventLimited:
		m.limited = e.Message
	case rebalance.EventProgress:
		m = m.measure(*e.Progress)
	}
	return m
}

// putBack is by how much a clock is behind the events that it has told the time of when it was put back meanwhile.
const putBack = 5 * time.Second

// At returns the model at a later time, which is an earlier one where the clock was put back.
func (m Model) At(now time.Time) Model {
	if now.After(m.Now) || m.Now.Sub(now) > putBack {
		m.Now = now
	}
	return m
}

func (m Model) say(at time.Time, text string) Model {
	m.lines = append(slices.Clone(m.lines), at.Format(time.TimeOnly)+" "+text)
	m.lines = m.lines[max(0, len(m.lines)-keptLines):]
	return m
}

func (m Model) forget(key string) Model {
	m.failures = slices.DeleteFunc(slices.Clone(m.failures), func(f rebalance.Event) bool { return f.Unit.Key == key })
	m.selected = max(0, min(m.selected, len(m.failures)-1))
	return m
}

func (m Model) remember(e rebalance.Event) Model {
	m.failures = slices.Clone(m.failures)
	i, found := slices.BinarySearchFunc(m.failures, e.Unit.Key, func(f rebalance.Event, key string) int { return strings.Compare(f.Unit.Key, key) })
	switch {
	case found:
		m.failures[i] = e
	case len(m.failures) < keptFailures:
		m.failures = slices.Insert(m.failures, i, e)
		if i <= m.selected && len(m.failures) > 1 {
			m.selected++
		}
	}
	return m
}

// measure takes new counts. Where none of them says that a unit fails, none does.
func (m Model) measure(p rebalance.Progress) Model {
	m.progress = p
	latencies := map[string][]time.Duration{}
	for _, cell := range p.Cells {
		known := m.latencies[cell.Cell]
		if cell.Latency != nil {
			known = append(slices.Clone(known), cell.Latency.Duration)
		}
		latencies[cell.Cell] = known[max(0, len(known)-keptLatencies):]
	}
	m.latencies = latencies
	failing := p.Failed
	for _, pair := range p.Pairs {
		failing += pair.Failed
	}
	if failing == 0 {
		m.failures, m.selected = nil, 0
	}
	return m
}

func moved(unit *rebalance.UnitEvent) string {
	text := unit.Key + " " + unit.From + " → " + unit.To + " migrated"
	if unit.Blocked > 0 {
		text += " " + seconds(unit.Blocked)
	}
	return text
}
