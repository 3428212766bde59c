package rebalance

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// EventType says what an [Event] tells.
type EventType string

const (
	// EventPhase: the run is in another phase. Phase and, for some, Message are set.
	EventPhase EventType = "phase"
	// EventDriver: somebody else drives now, or nobody. Driver is set, or empty; then Message may say why.
	EventDriver EventType = "driver"
	// EventMoved: a unit has moved. Unit is set. Only the driver's own stream has it.
	EventMoved EventType = "moved"
	// EventFailed: a unit could not be moved yet. Unit is set.
	EventFailed EventType = "failed"
	// EventWindow: the window is another one. Window is set, and Message says why.
	EventWindow EventType = "window"
	// EventBlocked: routers have not acknowledged what the run waits for. Message names them; it is empty
	// when they have.
	EventBlocked EventType = "blocked"
	// EventCells: a cell cannot be used. Message names it and says why; it is empty when all can be.
	EventCells EventType = "cells"
	// EventStopped: more units failed than maxFailures allows. Message says so; it is empty when the run
	// goes on.
	EventStopped EventType = "stopped"
	// EventLimited: only some units may begin. Message says which, and whether all of these have moved; it is
	// empty when all may.
	EventLimited EventType = "limited"
	// EventProgress: Progress is set.
	EventProgress EventType = "progress"
)

// Event is one line of the record of a run, for a screen or, as JSON, for a program.
type Event struct {
	// Seq grows by one within a stream.
	Seq  int64     `json:"seq"`
	Time time.Time `json:"ts"`
	Type EventType `json:"type"`
	// Run is the name of the Rebalance.
	Run      string                  `json:"run"`
	Phase    v1alpha1.RebalancePhase `json:"phase,omitempty"`
	Driver   string                  `json:"driver,omitempty"`
	Unit     *UnitEvent              `json:"unit,omitempty"`
	Window   *WindowEvent            `json:"window,omitempty"`
	Progress *Progress               `json:"progress,omitempty"`
	// Reached says of a limit that all units which it lets begin have moved.
	Reached bool   `json:"reached,omitempty"`
	Message string `json:"message,omitempty"`
}

// UnitEvent is what became of a unit.
type UnitEvent struct {
	Key  string `json:"key"`
	From string `json:"from"`
	To   string `json:"to"`
	// Blocked is for how long it refused writes, in nanoseconds; 0 where that is not known.
	Blocked time.Duration `json:"blockedNanos,omitempty"`
	// Step is where it failed; Attempts is how often.
	Step     string `json:"step,omitempty"`
	Attempts int32  `json:"attempts,omitempty"`
	// Retrying says that the failure may pass by itself.
	Retrying bool `json:"retrying,omitempty"`
}

// WindowEvent is how many units may move at once.
type WindowEvent struct {
	Now    int32 `json:"now"`
	Wanted int32 `json:"wanted"`
}

// Progress is how far a run is.
type Progress struct {
	Total          int64                    `json:"total"`
	Moved          int64                    `json:"moved"`
	InFlight       int64                    `json:"inFlight"`
	Failed         int64                    `json:"failed"`
	UnitsPerMinute int64                    `json:"unitsPerMinute"`
	Completion     *metav1.Time             `json:"estimatedCompletion,omitempty"`
	WriteBlock     *v1alpha1.WriteBlock     `json:"writeBlock,omitempty"`
	Pairs          []v1alpha1.PairProgress  `json:"pairs,omitempty"`
	Cells          []v1alpha1.RebalanceCell `json:"cells,omitempty"`
}

// ProgressOf sums a status up.
func ProgressOf(status *v1alpha1.RebalanceProgress) Progress {
	p := Progress{
		Failed: status.FailedUnits, UnitsPerMinute: status.UnitsPerMinute,
		WriteBlock: status.WriteBlock, Pairs: status.Pairs, Cells: status.Cells, Completion: status.EstimatedCompletionTime,
	}
	for _, pair := range status.Pairs {
		p.Total += pair.Total
		p.Moved += pair.Moved
		p.InFlight += pair.InFlight
	}
	return p
}
