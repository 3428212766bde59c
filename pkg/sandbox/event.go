package sandbox

import "time"

// State is where one step of an operation stands.
type State string

// States of a step. Done, Already and Failed are final.
const (
	Running State = "running"
	Done    State = "done"
	Already State = "already"
	Failed  State = "failed"
	// Note is no state but something the user should know; the step stays where it is.
	Note State = "note"
)

// Event is a change of state of one step, such as the start of one cell.
type Event struct {
	Step   string
	State  State
	Detail string
	At     time.Time
	// Elapsed is how long the step took, for Done and Failed.
	Elapsed time.Duration
}

func (m *Manager) tell(step string, state State, detail string) {
	m.report(Event{Step: step, State: state, Detail: detail, At: m.Clock.Now()})
}

func (m *Manager) report(e Event) {
	if m.Progress == nil {
		return
	}
	m.telling.Lock()
	defer m.telling.Unlock()
	m.Progress(e)
}

// step runs do and tells its beginning and its end. do returns the final state, Done or Already, and
// a detail for people.
func (m *Manager) step(name string, do func() (State, string, error)) error {
	begin := m.Clock.Now()
	m.tell(name, Running, "")
	state, detail, err := do()
	if err != nil {
		state, detail = Failed, ""
	}
	m.report(Event{Step: name, State: state, Detail: detail, At: m.Clock.Now(), Elapsed: m.since(begin)})
	return err
}
