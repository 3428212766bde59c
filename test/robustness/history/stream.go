package history

import (
	"slices"
	"sync"
)

// EventType is what a watch told.
type EventType string

// The first three are those of a watch. The others have no key.
const (
	Added    EventType = "ADDED"
	Modified EventType = "MODIFIED"
	Deleted  EventType = "DELETED"
	// Relisted: everything was asked for again. Items follows; what is not among them is gone.
	Relisted EventType = "RELISTED"
	// Resumed: the watch was opened again from an object's version, after which other cells' events may repeat. One that
	// goes on from a list or a bookmark is exact, and not noted.
	Resumed EventType = "RESUMED"
	// Opened: a watch begins, wherever from. What it says of its position from here on is one sequence.
	Opened EventType = "OPENED"
	// Bookmarked: the watch says where it stands, and tells of no object.
	Bookmarked EventType = "BOOKMARK"
)

// Event is one that a watcher was told.
type Event struct {
	// At is when it arrived; of Relisted, when the list did.
	At    int64
	Type  EventType
	Key   string
	State State
	// Status is the mark of the object, where a cell was watched directly.
	Status Status `json:",omitempty"`
	// Position is that of a bookmark, also of one that ends a list which was sent as a watch; empty where there was none.
	Position string `json:",omitempty"`
	// Items are what a list told, by key.
	Items map[string]State `json:",omitempty"`
}

// Told is what a watcher was told.
type Told struct {
	Name   string
	Events []Event
}

// Stream collects what one watcher is told, in order.
type Stream struct {
	name  string
	clock *Recorder

	mu     sync.Mutex // guards what follows
	events []Event
	view   map[string]State
}

// Add keeps an event; its time is now.
func (s *Stream) Add(e Event) {
	e.At = s.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	if s.view == nil {
		s.view = map[string]State{}
	}
	Apply(s.view, e)
}

// Apply changes what a watcher knows by an event.
func Apply(view map[string]State, e Event) {
	switch e.Type {
	case Added, Modified:
		view[e.Key] = e.State
	case Deleted:
		delete(view, e.Key)
	case Relisted:
		clear(view)
		for key, state := range e.Items {
			view[key] = state
		}
	}
}

// View is what the watcher knows now, by key.
func (s *Stream) View() map[string]State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]State, len(s.view))
	for key, state := range s.view {
		out[key] = state
	}
	return out
}

// Told copies what there is.
func (s *Stream) Told() Told {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Told{Name: s.name, Events: slices.Clone(s.events)}
}
