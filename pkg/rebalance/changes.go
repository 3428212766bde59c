package rebalance

import (
	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Changes are the events that lead from one state of a Rebalance to a later one, without number and time.
// before is nil for the first. A driver's stream and that of an attached viewer are both made by it.
func Changes(before, after *v1alpha1.Rebalance) []Event {
	if before == nil {
		before = &v1alpha1.Rebalance{}
	}
	old, now := &before.Status, &after.Status
	var out []Event
	add := func(e Event) {
		e.Run = after.Name
		out = append(out, e)
	}
	if old.Driver != now.Driver || driven(old) != driven(now) {
		e := Event{Type: EventDriver}
		if driven(now) {
			e.Driver = now.Driver
		}
		add(e)
	}
	if old.Phase != now.Phase {
		add(Event{Type: EventPhase, Phase: now.Phase})
	}
	for _, c := range []struct {
		condition string
		event     EventType
	}{
		{v1alpha1.ConditionRoutersAcknowledged, EventBlocked},
		{v1alpha1.ConditionCellsUsable, EventCells},
	} {
		was, is := complaint(old, c.condition), complaint(now, c.condition)
		if was != is {
			add(Event{Type: c.event, Message: is})
		}
	}
	if was, is := Stopped(before), Stopped(after); was != is {
		add(Event{Type: EventStopped, Message: is})
	}
	if was, is := complaint(old, v1alpha1.ConditionUnlimited), complaint(now, v1alpha1.ConditionUnlimited); was != is {
		add(Event{Type: EventLimited, Message: is, Reached: LimitReached(now)})
	}
	if old.Window != now.Window || before.Spec.Window != after.Spec.Window {
		add(Event{
			Type: EventWindow, Window: &WindowEvent{Now: now.Window, Wanted: after.Spec.Window},
			Message: complaint(now, v1alpha1.ConditionFullSpeed),
		})
	}
	for _, e := range failures(old, now) {
		add(e)
	}
	if p := ProgressOf(now); !equality.Semantic.DeepEqual(p, ProgressOf(old)) {
		add(Event{Type: EventProgress, Progress: &p})
	}
	return out
}

func driven(status *v1alpha1.RebalanceProgress) bool {
	return status.Driver != "" && !apimeta.IsStatusConditionFalse(status.Conditions, v1alpha1.ConditionDriven)
}

// complaint is the message of a condition that is false.
func complaint(status *v1alpha1.RebalanceProgress, condition string) string {
	c := apimeta.FindStatusCondition(status.Conditions, condition)
	if c == nil || c.Status != metav1.ConditionFalse {
		return ""
	}
	return c.Message
}

// Stopped is why a run has paused itself. Its record says it until somebody drives, also where it was resumed since.
func Stopped(run *v1alpha1.Rebalance) string {
	if !run.Spec.Paused {
		return ""
	}
	return complaint(&run.Status, v1alpha1.ConditionHealthy)
}

// failures are the units that failed once more.
func failures(old, now *v1alpha1.RebalanceProgress) []Event {
	attempts := map[string]int32{}
	for _, f := range old.Failures {
		attempts[f.Key] = f.Attempts
	}
	var out []Event
	for _, f := range now.Failures {
		if f.Attempts == attempts[f.Key] {
			continue
		}
		out = append(out, Event{
			Type: EventFailed, Message: f.Message,
			Unit: &UnitEvent{Key: f.Key, From: f.From, To: f.To, Step: f.Step, Attempts: f.Attempts, Retrying: f.Retrying},
		})
	}
	return out
}
