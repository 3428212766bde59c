package failover

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/tui/steps"
)

// TestWhoHoldsTheLeaseIsTold while the command waits for it, and why an earlier one gave up is not.
func TestWhoHoldsTheLeaseIsTold(t *testing.T) {
	var told []string
	n := &narrator{
		env: &command.Env{}, now: time.Now, seen: map[string]steps.State{}, said: map[string]string{},
		tell: func(e steps.Event) { told = append(told, e.Detail) },
	}
	driven := func(reason, message string) {
		n.changed(&v1alpha1.Failover{Status: v1alpha1.FailoverStatus{Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionDriven, Status: metav1.ConditionFalse, Reason: reason, Message: message,
		}}}})
	}
	driven(failover.ReasonHeldByAnother, "waiting for one")
	driven("GaveUp", "it was cut off")
	driven(failover.ReasonHeldByAnother, "waiting for another")
	if want := []string{"waiting for one", "waiting for another"}; !slices.Equal(told, want) {
		t.Errorf("told %q; want %q", told, want)
	}
}
