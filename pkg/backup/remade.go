package backup

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
)

const (
	// remadeWaiting is how many reports wait to be written; what is beyond is in the log and the metrics alone.
	remadeWaiting = 64
	// remadeEvery is the time between two.
	remadeEvery = 200 * time.Millisecond
)

// herald writes an Event on the Cell for each envelope that somebody had deleted or changed.
type herald struct {
	kube    kubernetes.Interface
	waiting chan mirror.Remade
	logger  *slog.Logger
	now     func() time.Time
}

func newHerald(kube kubernetes.Interface, logger *slog.Logger, now func() time.Time) *herald {
	return &herald{kube: kube, waiting: make(chan mirror.Remade, remadeWaiting), logger: logger, now: now}
}

// tell does not wait.
func (h *herald) tell(r mirror.Remade) {
	select {
	case h.waiting <- r:
	default:
	}
}

// run writes events until ctx ends.
func (h *herald) run(ctx context.Context) {
	ticker := time.NewTicker(remadeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		select {
		case <-ctx.Done():
			return
		case r := <-h.waiting:
			if err := h.write(ctx, r); err != nil && ctx.Err() == nil {
				h.logger.Warn("cannot write an event", "err", err)
			}
		}
	}
}

func (h *herald) write(ctx context.Context, r mirror.Remade) error {
	now := metav1.NewTime(h.now())
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: r.Cell + ".", Namespace: metav1.NamespaceDefault},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: v1alpha1.GroupVersion().String(), Kind: "Cell", Name: r.Cell,
		},
		Reason: "Envelope" + string(r.Reason), Type: corev1.EventTypeWarning,
		Message:        fmt.Sprintf("envelope %s of %s is made again: %s", r.Envelope, r.Object, r.Message),
		Source:         corev1.EventSource{Component: "kubecell-backup"},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	_, err := h.kube.CoreV1().Events(metav1.NamespaceDefault).Create(ctx, event, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create event for cell %s: %w", r.Cell, err)
	}
	return nil
}
