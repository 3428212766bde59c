package failover

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/tui/steps"
)

// TestWhatARunWaitsForIsToldOnce, with the program as this person calls it.
func TestWhatARunWaitsForIsToldOnce(t *testing.T) {
	var told []string
	n := &narrator{
		env: &command.Env{Program: "kubectl kubecell"}, now: time.Now, seen: map[string]steps.State{}, said: map[string]string{},
		tell: func(e steps.Event) { told = append(told, e.Detail) },
	}
	run := &v1alpha1.Failover{Status: v1alpha1.FailoverStatus{Conditions: []metav1.Condition{{
		Type: v1alpha1.ConditionRoutersAcknowledged, Status: metav1.ConditionFalse,
		Message: "waiting for r-1; forget what is dead: kubectl cell router forget NAME",
	}}}}
	n.changed(run)
	n.changed(run)
	if want := "waiting for r-1; forget what is dead: kubectl kubecell router forget NAME"; len(told) != 1 || told[0] != want {
		t.Errorf("told %q; want %q once", told, want)
	}
}

// TestWhatBecomesOfTheCellIsSaid: one that cannot be frozen is not said to be.
func TestWhatBecomesOfTheCellIsSaid(t *testing.T) {
	run := &v1alpha1.Failover{Status: v1alpha1.FailoverStatus{Phase: v1alpha1.FailoverSucceeded}}
	const last = "the cell must not be used before it was compared with the others: "
	for unfrozen, want := range map[string]string{"": "it is frozen as soon as it answers", "it cannot be frozen: why": "it cannot be frozen: why"} {
		var out strings.Builder
		if ended(&out, run, unfrozen); !strings.HasSuffix(out.String(), last+want+"\n") {
			t.Errorf("unfrozen %q: said\n%s\nwant %q in the end", unfrozen, out.String(), last+want)
		}
	}
}
