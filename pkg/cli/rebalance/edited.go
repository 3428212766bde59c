package rebalance

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ringchange"
)

// editedSince says in one line how the wanted ring differs from the one that the run in flight leads to, or the last one has led
// to. It is empty where it does not, or that cannot be asked.
func editedSince(ctx context.Context, fed *command.Federation) string {
	ring, err := fed.Cell.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if err != nil || ring.Status.Aborting {
		return "" // an abort leads away from the wanted ring
	}
	if ring.Status.Target != nil {
		ring.Status.Current = ring.Status.Target
	}
	differs := ringchange.Differences(ring)
	if ring.Status.Current != nil && !equality.Semantic.DeepEqual(ring.Status.Current.Resources, ring.Spec.Resources) {
		differs = append(differs, "the rules of resources")
	}
	if len(differs) == 0 {
		return ""
	}
	return "the wanted ring was changed since: " + strings.Join(differs, " ") + "; that waits for the next run"
}
