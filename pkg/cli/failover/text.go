package failover

import (
	"fmt"
	"io"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/tui/steps"
)

// shown is how many names a text has of a list; -o name and -o json have more.
const shown = 5

// report writes a report for people.
func report(w io.Writer, cell string, r *v1alpha1.FailoverReport) {
	agree, asked := failover.Agreement(r)
	fmt.Fprintf(w, "%s: %s objects   last answer %s, %d of %d routers agree\n", cell, printers.Count(r.Workloads), since(r), agree, asked)
	fmt.Fprintf(w, "  copy %s   NO COPY %s%s\n", agesOf(r), printers.Count(r.Lost), mark(r.Lost))
	if len(r.StaleKeys) > 0 {
		fmt.Fprintf(w, "  worst  %s %s\n", r.StaleKeys[0], r.OldestCopy.Round(time.Second))
	}
	list(w, "would be LOST", r.Lost, r.LostKeys)
	list(w, "would lack an acknowledged write", r.Stale, r.StaleKeys)
	list(w, "have a damaged copy", r.Corrupt, r.CorruptKeys)
	if r.Unknown > 0 {
		fmt.Fprintf(w, "  may be LOST too: about %s, which no copy that can be read and no router tells of\n", printers.Count(r.Unknown))
	}
	var takes []string
	for _, s := range r.Survivors {
		text := fmt.Sprintf("%s +%s", s.Cell, printers.Count(s.Takes))
		if s.Workloads > 0 {
			text += " → " + printers.Count(s.Workloads)
		}
		takes = append(takes, text)
	}
	fmt.Fprintf(w, "survivors  %s\n", strings.Join(takes, " | "))
	for _, b := range r.Blockers {
		fmt.Fprintf(w, "blocker    %s\n", b)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning    %s\n", warning)
	}
}

func mark(n int64) string {
	if n > 0 {
		return " !"
	}
	return ""
}

// since says how long ago a cell last answered a router.
func since(r *v1alpha1.FailoverReport) string {
	if r.LastAnswer == nil || r.Time == nil {
		return "never seen"
	}
	return printers.Age(r.Time.Sub(r.LastAnswer.Time)) + " ago"
}

// agesOf is "≤5s old 20,011   ≤1m0s 188   older 3".
func agesOf(r *v1alpha1.FailoverReport) string {
	var out []string
	for i, a := range r.Ages {
		switch {
		case i == 0:
			out = append(out, fmt.Sprintf("≤%s old %s", a.UpTo.Duration, printers.Count(a.Copies)))
		case a.UpTo != nil:
			out = append(out, fmt.Sprintf("≤%s %s", a.UpTo.Round(time.Second), printers.Count(a.Copies)))
		default:
			out = append(out, "older "+printers.Count(a.Copies))
		}
	}
	return strings.Join(out, "   ")
}

func list(w io.Writer, what string, n int64, names []string) {
	if n == 0 {
		return
	}
	more := ""
	if len(names) > shown {
		names, more = names[:shown], ", …"
	}
	fmt.Fprintf(w, "  %s: %s: %s%s\n", what, printers.Count(n), strings.Join(names, ", "), more)
}

// ended says how a run ended, and why the cell cannot be frozen, where that is so.
func ended(w io.Writer, run *v1alpha1.Failover, unfrozen string) {
	s := &run.Status
	took := "-"
	if s.StartTime != nil && s.CompletionTime != nil {
		took = printers.Took(s.StartTime.Time, s.CompletionTime.Time)
	}
	switch {
	case s.Phase == v1alpha1.FailoverRefused:
		fmt.Fprintf(w, "failover %s was refused; the ring is as it was\n", run.Name)
	case run.Spec.Drill:
		fmt.Fprintf(w, "drill %s of cell %s is done in %s; nothing was changed\n", run.Name, run.Spec.Cell, took)
	default:
		promoted := int64(0)
		for _, c := range s.Cells {
			promoted += c.Promoted
		}
		fmt.Fprintf(w, "cell %s is failed over in %s: %s objects are served again, epoch %d\n", run.Spec.Cell, took, printers.Count(promoted), s.ToEpoch)
		if s.Report != nil && failover.Loss(s.Report) > 0 {
			fmt.Fprintf(w, "lost: %s; without their last writes: %s; with a damaged copy: %s\n",
				printers.Count(s.Report.Lost), printers.Count(s.Report.Stale), printers.Count(s.Report.Corrupt))
		}
		if unfrozen == "" {
			unfrozen = "it is frozen as soon as it answers"
		}
		fmt.Fprintf(w, "the cell must not be used before it was compared with the others: %s\n", unfrozen)
	}
	for i, k := range s.Kept {
		if i == shown {
			fmt.Fprintln(w, "  …")
			break
		}
		fmt.Fprintf(w, "  %s in %s: %s: %s\n", k.Object, k.Cell, k.Reason, k.Message)
	}
}

// narrator makes events of a run's status. Its driver calls it one at a time.
type narrator struct {
	env  *command.Env
	tell func(steps.Event)
	now  func() time.Time
	seen map[string]steps.State
	said map[string]string
}

func (n *narrator) changed(run *v1alpha1.Failover) {
	for _, step := range run.Status.Steps {
		state := steps.Running
		if step.CompletionTime != nil {
			state = steps.Done
		}
		if known, there := n.seen[step.Name]; there && known == state {
			continue
		}
		n.seen[step.Name] = state
		n.tell(steps.Event{Step: step.Name, State: state, Detail: step.Message, At: n.now(), Took: tookOf(&step)})
	}
	for _, kind := range []string{v1alpha1.ConditionDriven, v1alpha1.ConditionRoutersAcknowledged, v1alpha1.ConditionCellsUsable} {
		message := ""
		c := apimeta.FindStatusCondition(run.Status.Conditions, kind)
		if c != nil && c.Status == metav1.ConditionFalse && (kind != v1alpha1.ConditionDriven || c.Reason == failover.ReasonHeldByAnother) {
			message = n.env.Typed(c.Message)
		}
		if message != n.said[kind] && message != "" {
			n.tell(steps.Event{Step: "waits", State: steps.Note, Detail: message, At: n.now()})
		}
		n.said[kind] = message
	}
}

// tookOf is how long a step took that has ended.
func tookOf(step *v1alpha1.FailoverStep) time.Duration {
	if step.CompletionTime == nil {
		return 0
	}
	return step.CompletionTime.Sub(step.StartTime.Time)
}

// line writes one line per change of state.
func line(w io.Writer, e steps.Event) {
	switch e.State {
	case steps.Done:
		said := e.Detail
		if said != "" {
			said += ", "
		}
		fmt.Fprintf(w, "✔ %s: %s%s\n", e.Step, said, e.Took.Round(100*time.Millisecond))
	case steps.Note:
		fmt.Fprintf(w, "%s: %s\n", e.Step, e.Detail)
	case steps.Running:
		fmt.Fprintf(w, "… %s\n", e.Step)
	}
}
