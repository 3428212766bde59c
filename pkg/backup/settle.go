package backup

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

const (
	// settleEvery is how often the marks are looked at.
	settleEvery = 250 * time.Millisecond
	// settlePatience is how long one call waits before it says for what.
	settlePatience = 15 * time.Second
)

// Settle returns once every cell of the ring that a rebalance has reached has all its envelopes for it: before that the
// old ring, in whose cells they still are, must not be forgotten. It is a rebalance driver's Settle, to be called again
// after an error, which says who is waited for.
//
// Where no backup daemon has ever held its Lease there are no envelopes, and nothing is waited for. Where one has, and
// none works now, the wait goes on until one does, or until somebody deletes the Lease.
func Settle(kube kubernetes.Interface) func(ctx context.Context, ring *v1alpha1.Ring) error {
	return func(ctx context.Context, ring *v1alpha1.Ring) error {
		patience := time.NewTimer(settlePatience)
		defer patience.Stop()
		for {
			waiting, err := unsettled(ctx, kube, ring)
			if err != nil || len(waiting) == 0 {
				return err
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-patience.C:
				return fmt.Errorf("the backup for epoch %d is not complete: %s; is a backup daemon at work? To go on without one, delete the lease %s",
					ring.Status.Epoch, strings.Join(waiting, ", "), LeaseName)
			case <-time.After(settleEvery):
			}
		}
	}
}

// unsettled are the cells whose envelopes are not known to be complete for a ring.
func unsettled(ctx context.Context, kube kubernetes.Interface, ring *v1alpha1.Ring) ([]string, error) {
	layout := ring.Status.Target
	if layout == nil {
		layout = ring.Status.Current
	}
	if layout == nil || len(layout.Members) < 2 {
		return nil, nil
	}
	_, err := kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(ctx, LeaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read lease of the backup daemon: %w", err)
	}
	list, err := kube.CoreV1().ConfigMaps(v1alpha1.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: v1alpha1.LabelComponent + "=" + v1alpha1.ComponentMarks,
	})
	if err != nil {
		return nil, fmt.Errorf("read marks of the backup: %w", err)
	}
	epochs := map[string]int64{}
	for i := range list.Items {
		if marks, _, err := ReadMarks(&list.Items[i]); err == nil {
			epochs[marks.Cell] = marks.Epoch
		}
	}
	var waiting []string
	for _, member := range layout.Members {
		if epochs[member.Cell] < ring.Status.Epoch {
			waiting = append(waiting, member.Cell)
		}
	}
	return waiting, nil
}
