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
			"cell cell-1 cannot be fenced: why", "upgrade",
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
