package status

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/overview"
)

// TestACellThatIsNotFencedIsAFinding, with the command that helps, where one does.
func TestACellThatIsNotFencedIsAFinding(t *testing.T) {
	const again = "kubectl cell add cell-1 --kubeconfig FILE"
	for name, test := range map[string]struct {
		condition     *metav1.Condition
		message, next string
	}{
		"in force": {&metav1.Condition{Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonFenceInForce}, "", ""},
		"none":     {nil, "cell cell-1 has no fence", again},
		"failed": {
			&metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonFenceFailed, Message: "why"},
			"cell cell-1 is not fenced: why", again,
		},
		"removed": {
			&metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonFenceRemoved, Message: "why"},
			"cell cell-1 is not fenced: why", again,
		},
		"unsupported": {
			&metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonFenceUnsupported, Message: "why"},
			"cell cell-1 cannot be fenced: why", "turn the API",
		},
	} {
		t.Run(name, func(t *testing.T) {
			object := &v1alpha1.Cell{ObjectMeta: metav1.ObjectMeta{Name: "cell-1"}}
			if test.condition != nil {
				test.condition.Type = v1alpha1.ConditionFenced
				object.Status.Conditions = []metav1.Condition{*test.condition}
			}
			got := conditionFindings("kubectl cell", overview.Cell{Name: "cell-1", State: overview.Ready, Object: object})
			switch {
			case test.message == "" && len(got) > 0:
				t.Errorf("findings %+v; want none", got)
			case test.message == "":
			case len(got) != 1 || got[0].Cell != "cell-1" || !strings.HasPrefix(got[0].Message, test.message) || !strings.Contains(got[0].Next, test.next):
				t.Errorf("findings %+v; want one with %q, next %q", got, test.message, test.next)
			}
		})
	}
}

// TestAFailedOverCellIsAskedForNothingButToBeFrozen: that it does not answer and has no copies is why it was failed over.
func TestAFailedOverCellIsAskedForNothingButToBeFrozen(t *testing.T) {
	away := metav1.Condition{Type: v1alpha1.ConditionReplicated, Status: metav1.ConditionFalse, Message: "connection refused"}
	frozen := func(status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: v1alpha1.ConditionFrozen, Status: status, Reason: reason, Message: "why"}
	}
	for name, test := range map[string]struct {
		condition metav1.Condition
		want      string
	}{
		"away":       {frozen(metav1.ConditionFalse, v1alpha1.ReasonFreezeUnreachable), ""},
		"frozen":     {frozen(metav1.ConditionTrue, v1alpha1.ReasonFreezeInForce), ""},
		"not frozen": {frozen(metav1.ConditionFalse, v1alpha1.ReasonFreezeFailed), "cell cell-1 was failed over, answers, and is not frozen: why"},
	} {
		t.Run(name, func(t *testing.T) {
			object := &v1alpha1.Cell{ObjectMeta: metav1.ObjectMeta{Name: "cell-1"}}
			object.Status.Conditions = []metav1.Condition{away, test.condition}
			var said []string
			for _, f := range afterFailover("kubectl cell", overview.Cell{Name: "cell-1", State: overview.Unreachable, Object: object}) {
				said = append(said, f.Message)
			}
			if got := strings.Join(said, ";"); got != test.want {
				t.Errorf("findings %q; want %q", got, test.want)
			}
		})
	}
}
