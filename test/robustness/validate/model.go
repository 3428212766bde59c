package validate

import (
	"github.com/anishathalye/porcupine"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// object is the model's state of one key.
type object struct {
	exists bool
	state  history.State
	// exact says that state.Version is the object's version. Otherwise that is a higher one, or any where it is empty:
	// something changed the object, and nobody has seen the version since.
	exact bool
}

// model is a register that may be absent, with a version that grows by each change. The versions of a key that moves
// may grow by themselves as well, at any moment: the driver marks it.
type model struct{ moves bool }

func (m model) porcupine() porcupine.Model {
	return (&porcupine.NondeterministicModel{
		Init: func() []any { return []any{object{}} },
		Step: func(s, _, output any) []any {
			var out []any
			for _, next := range m.step(s.(object), output.(history.Op)) {
				out = append(out, next)
			}
			return out
		},
	}).ToModel()
}

// step returns what the key may be after an operation; nothing where it cannot have been answered so.
func (m model) step(s object, op history.Op) []object {
	switch op.Verb {
	case history.Lose:
		return lose(s, op)
	case history.Found:
		return only(object{exists: true, state: op.Seen, exact: true}, !s.exists)
	}
	switch op.Outcome {
	case history.Refused:
		return []object{s}
	case history.Unknown:
		return m.unknown(s, op)
	case history.Absent:
		return only(s, !s.exists)
	case history.Exists:
		return only(s, s.exists && op.Verb == history.Create)
	case history.Conflict:
		return m.conflict(s, op)
	}
	return m.done(s, op)
}

// done is the step of an operation that succeeded.
func (m model) done(s object, op history.Op) []object {
	if op.Verb == history.Get {
		next, ok := m.see(s, op.Seen)
		return only(next, ok)
	}
	next, ok := apply(s, op)
	if !ok || op.Verb == history.Delete {
		return only(next, ok)
	}
	if op.Verb != history.Create && op.Seen.Version != "" && s.state.Version != "" && !newer(op.Seen.Version, s.state.Version) {
		return nil
	}
	if op.Verb == history.Scale {
		op.Seen.Born, op.Seen.Mark = next.state.Born, next.state.Mark
	}
	next.state.Version, next.exact = op.Seen.Version, op.Seen.Version != ""
	return only(next, op.Seen == next.state)
}

// apply makes the change that an operation asks for, where its conditions hold.
func apply(s object, op history.Op) (object, bool) {
	if op.Verb == history.Create {
		return object{exists: true, state: history.State{Born: op.Mark, Mark: op.Mark, Replicas: op.Replicas}}, !s.exists
	}
	if !s.exists || op.IfVersion != "" && (!s.exact || s.state.Version != op.IfVersion) {
		return s, false
	}
	s.exact = false
	switch op.Verb {
	case history.Update, history.Patch:
		s.state.Mark = op.Mark
	case history.Scale:
		s.state.Replicas = op.Replicas
	case history.Report:
		s.state.Reported = op.Reported
	case history.Delete:
		s = object{}
	}
	return s, true
}

// lose is the step of a failover that names the object. It has to take something: what is named and unharmed is as wrong
// as what is harmed and not named.
func lose(s object, op history.Op) []object {
	if !s.exists {
		return nil
	}
	after := object{}
	if op.Seen != (history.State{}) {
		after = object{exists: true, state: op.Seen}
		after.state.Version = s.state.Version // that of the copy is the dead cell's own; those that are shown go on growing
		if after.state.Born != s.state.Born || unversioned(after.state) == unversioned(s.state) {
			return nil
		}
	}
	if op.Outcome == history.Unknown {
		return []object{s, after}
	}
	return []object{after}
}

// see is the step of a read.
func (m model) see(s object, seen history.State) (object, bool) {
	want := s.state
	want.Version = seen.Version
	if !s.exists || seen != want {
		return s, false
	}
	if !m.version(s, seen.Version) {
		return s, false
	}
	return object{exists: true, state: seen, exact: true}, true
}

// version says whether the object may have a version that was seen.
func (m model) version(s object, seen string) bool {
	switch {
	case s.state.Version == "":
		return true
	case s.exact && seen == s.state.Version:
		return true
	}
	return (!s.exact || m.moves) && newer(seen, s.state.Version)
}

// conflict is the step of an operation that found another version. Where the key moves, that may be because it did,
// just before: then nobody ever sees the old version again.
func (m model) conflict(s object, op history.Op) []object {
	if !s.exists || op.IfVersion == "" {
		return nil
	}
	if s.exact && s.state.Version == op.IfVersion {
		s.exact = false
		return only(s, m.moves)
	}
	return []object{s}
}

// unknown is the step of an operation that may have been done or not.
func (m model) unknown(s object, op history.Op) []object {
	if next, ok := apply(s, op); ok && op.Writes() {
		return []object{s, next}
	}
	return []object{s}
}

func only(s object, ok bool) []object {
	if !ok {
		return nil
	}
	return []object{s}
}

// newer compares two versions: decimal digits without leading zeros.
func newer(a, b string) bool {
	if len(a) != len(b) {
		return len(a) > len(b)
	}
	return a > b
}
