// Package history is what clients, watchers and pollers write down of a run, to be judged when it has ended. It is
// data and the clock that orders it, and knows no Kubernetes.
package history

import (
	"fmt"
	"math"
)

// Verb is what a client asks for.
type Verb string

// The verbs. Scale and Report write subresources: scale, and status.
const (
	Get    Verb = "get"
	Create Verb = "create"
	Update Verb = "update"
	Patch  Verb = "patch"
	Scale  Verb = "scale"
	Report Verb = "report"
	Delete Verb = "delete"
	// Lose is no request: it is what a failover took from an object that it names. Seen is the object in the copy that was
	// brought back, and nothing where there was none.
	Lose Verb = "lose"
	// Found is no request either: the object was there as it was Seen when the record began.
	Found Verb = "found"
)

// Outcome is what the answer says of the request.
type Outcome string

const (
	// OK: done.
	OK Outcome = "ok"
	// Absent: there was no such object, nothing was done.
	Absent Outcome = "absent"
	// Exists: there was one already, nothing was done.
	Exists Outcome = "exists"
	// Conflict: the object had another version than asked for, nothing was done.
	Conflict Outcome = "conflict"
	// Refused: nothing was done, and nothing is said of the object.
	Refused Outcome = "refused"
	// Unknown: no answer, or one that leaves open whether anything was done.
	Unknown Outcome = "unknown"
)

// Never is the return time of an operation whose outcome is Unknown: it may take effect at any time after the call.
const Never = math.MaxInt64

// State is what counts of an object.
type State struct {
	// Born is the mark of the create that made it: it tells objects of one name apart, across moves.
	Born string
	// Mark is that of the last write to its content.
	Mark string
	// Replicas is what create or scale set last; 0 for what has none.
	Replicas int64
	// Reported is what the last write to its status set; 0 where there was none.
	Reported int64
	// Version is its resource version as routers show it; empty where that is not known.
	Version string
}

// Op is one request of a client.
type Op struct {
	Client int
	// Via is the router that was asked, or the cell.
	Via string
	// Key is <resource>/<name>.
	Key  string
	Verb Verb
	// Call and Return are times of one clock, in nanoseconds; Return is Never where nobody knows.
	Call, Return int64
	// Mark is unique among all writes; those of Create, Update and Patch leave it on the object.
	Mark string
	// Replicas is what Create and Scale ask for.
	Replicas int64
	// Reported is what Report writes.
	Reported int64
	// IfVersion is the version that the object must have; empty for any.
	IfVersion string

	Outcome Outcome
	// Seen is the object in the answer. A Scale shows Replicas, Reported and Version alone.
	Seen State
	// Detail is the error of the answer.
	Detail string
}

// Writes says whether the operation changes something when it succeeds.
func (o Op) Writes() bool { return o.Verb != Get && o.Verb != Found }

// MayHaveWritten says whether the operation has, or may have, changed something.
func (o Op) MayHaveWritten() bool {
	return o.Writes() && (o.Outcome == OK || o.Outcome == Unknown)
}

func (o Op) String() string {
	at := func(t int64) string {
		if t == Never {
			return "?"
		}
		return fmt.Sprintf("%.6f", float64(t)/1e9)
	}
	s := fmt.Sprintf("[%s, %s] client %d via %s: %s %s", at(o.Call), at(o.Return), o.Client, o.Via, o.Verb, o.Key)
	if o.Mark != "" {
		s += " mark " + o.Mark
	}
	if o.Replicas != 0 {
		s += fmt.Sprintf(" replicas %d", o.Replicas)
	}
	if o.Reported != 0 {
		s += fmt.Sprintf(" reported %d", o.Reported)
	}
	if o.IfVersion != "" {
		s += " if version " + o.IfVersion
	}
	s += " → " + string(o.Outcome)
	if o.Seen != (State{}) {
		s += fmt.Sprintf(" %+v", o.Seen)
	}
	if o.Detail != "" {
		s += ": " + o.Detail
	}
	return s
}
