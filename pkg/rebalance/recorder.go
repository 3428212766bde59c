package rebalance

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

const (
	// maxRecorded bounds how many failed units one driver records.
	maxRecorded = 50
	// maxEventMessage is how much of what happened is recorded, in bytes.
	maxEventMessage = 1000
	// recordTimeout is how long one record may take, and how long the end of a run waits for those that are not written yet.
	// They are for people, and nothing else waits for them.
	recordTimeout = 2 * time.Second
)

// recorder writes Kubernetes Events about the run and its cells, into the namespace that those of
// cluster-scoped objects go to. One that cannot be written is left out.
type recorder struct {
	kube   kubernetes.Interface
	driver string
	logger *slog.Logger
	failed int
	// queue has what serve is to write. What it has no room for is left out.
	queue chan *corev1.Event
}

func newRecorder(kube kubernetes.Interface, driver string, logger *slog.Logger) *recorder {
	return &recorder{kube: kube, driver: driver, logger: logger, queue: make(chan *corev1.Event, 2*maxRecorded)}
}

// serve writes what is in the queue, until that is closed. Once ctx has ended it writes nothing more.
func (r *recorder) serve(ctx context.Context) {
	for event := range r.queue {
		r.write(ctx, event)
	}
}

// changes records what people look for later. It is called by one goroutine at a time.
func (r *recorder) changes(before, after *v1alpha1.Rebalance, events []Event) {
	old := &v1alpha1.RebalanceProgress{}
	if before != nil {
		old = &before.Status
	}
	for _, e := range events {
		kind, reason, message := r.words(e, old, after)
		if reason != "" {
			r.add("Rebalance", after.Name, after.UID, kind, reason, message)
		}
	}
	known := map[string]string{}
	for _, c := range old.Cells {
		known[c.Cell] = c.Failing
	}
	for _, c := range after.Status.Cells {
		if c.Failing != "" && known[c.Cell] == "" {
			r.add("Cell", c.Cell, "", corev1.EventTypeWarning, "RebalanceWaits", fmt.Sprintf("rebalance %s: %s", after.Name, c.Failing))
		}
	}
	if after.Status.Phase.Final() && !old.Phase.Final() {
		for cell, n := range balance(&after.Status) {
			r.add("Cell", cell, "", corev1.EventTypeNormal, "Rebalanced",
				fmt.Sprintf("rebalance %s ended: %d units left, %d came", after.Name, n.left, n.came))
		}
	}
}

// words are none for what only goes on: why a run waits is told anew each second.
func (r *recorder) words(e Event, old *v1alpha1.RebalanceProgress, run *v1alpha1.Rebalance) (kind, reason, message string) {
	begins := func(condition string) bool { return e.Message != "" && complaint(old, condition) == "" }
	switch {
	case e.Type == EventPhase:
		return corev1.EventTypeNormal, string(e.Phase), fmt.Sprintf("driven by %s", run.Status.Driver)
	case e.Type == EventStopped && e.Message != "":
		return corev1.EventTypeWarning, "TooManyFailures", e.Message
	case e.Type == EventLimited && e.Reached:
		return corev1.EventTypeNormal, "LimitReached", e.Message
	case e.Type == EventBlocked && begins(v1alpha1.ConditionRoutersAcknowledged):
		return corev1.EventTypeWarning, "RouterSilent", e.Message
	case e.Type == EventCells && begins(v1alpha1.ConditionCellsUsable):
		return corev1.EventTypeWarning, "CellUnusable", e.Message
	case e.Type == EventWindow && e.Message != "" && e.Window.Now < cmp.Or(old.Window, e.Window.Wanted):
		return corev1.EventTypeWarning, "WindowReduced", e.Message
	case e.Type == EventFailed && (e.Unit.Attempts == 1 || !failed(old, e.Unit)) && r.failed < maxRecorded:
		r.failed++
		return corev1.EventTypeWarning, "UnitFailed", fmt.Sprintf("%s (%s→%s): %s", e.Unit.Key, e.Unit.From, e.Unit.To, e.Message)
	}
	return "", "", ""
}

// failed says whether a unit had failed already. Its first two attempts may be told of at once.
func failed(status *v1alpha1.RebalanceProgress, unit *UnitEvent) bool {
	return slices.ContainsFunc(status.Failures, func(f v1alpha1.UnitFailure) bool { return f.Key == unit.Key && f.From == unit.From })
}

type traffic struct{ left, came int64 }

func balance(status *v1alpha1.RebalanceProgress) map[string]traffic {
	out := map[string]traffic{}
	for _, p := range status.Pairs {
		from, to := out[p.From], out[p.To]
		from.left += p.Moved
		to.came += p.Moved
		out[p.From], out[p.To] = from, to
	}
	return out
}

func (r *recorder) add(kind, name string, uid types.UID, eventType, reason, message string) {
	now := metav1.Now()
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + ".", Namespace: metav1.NamespaceDefault},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: v1alpha1.GroupVersion().String(), Kind: kind, Name: name, UID: uid,
		},
		Type: eventType, Reason: reason, Message: shorten(message, maxEventMessage),
		Source:         corev1.EventSource{Component: "kubecell-rebalance", Host: r.driver},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	select {
	case r.queue <- event:
	default:
		r.logger.Warn("cannot record an event: too many wait to be written", "reason", reason)
	}
}

func (r *recorder) write(ctx context.Context, event *corev1.Event) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	_, err := r.kube.CoreV1().Events(metav1.NamespaceDefault).Create(ctx, event, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
	if err != nil && ctx.Err() == nil {
		r.logger.Warn("cannot record an event", "reason", event.Reason, "err", err)
	}
}
