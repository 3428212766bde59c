package rebalance_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
)

// crowd has the apiserver of a cell answer 429 to whatever the mover asks, by its own priority and fairness, until the
// returned function is called. A priority level without seats admits one request all the same, if it is the only one: so
// there is always one that does not end.
func (b *bed) crowd(cell string) (leave func()) {
	b.t.Helper()
	api, none := b.cells[cell].FlowcontrolV1(), int32(0)
	_, err := api.PriorityLevelConfigurations().Create(b.t.Context(), &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: b.namespace},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: &none, BorrowingLimitPercent: &none,
				LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
			},
		},
	}, metav1.CreateOptions{})
	b.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	leave = func() {
		cancel()
		_ = api.FlowSchemas().Delete(context.Background(), b.namespace, metav1.DeleteOptions{})
		_ = api.PriorityLevelConfigurations().Delete(context.Background(), b.namespace, metav1.DeleteOptions{})
	}
	b.t.Cleanup(leave)
	all := []string{flowcontrolv1.ResourceAll}
	_, err = api.FlowSchemas().Create(b.t.Context(), &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: b.namespace},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: b.namespace},
			MatchingPrecedence:         10,
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{
					Kind: flowcontrolv1.SubjectKindGroup, Group: &flowcontrolv1.GroupSubject{Name: v1alpha1.GroupMovers},
				}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: all, APIGroups: all, Resources: all, ClusterScope: true, Namespaces: all,
				}},
			}},
		},
	}, metav1.CreateOptions{})
	b.must(err)
	mover := kubeOf(b.t, fence.AsMover(b.configs[cell])).CoreV1().RESTClient()
	go func() {
		for ctx.Err() == nil {
			body, never := io.Pipe()
			stop := context.AfterFunc(ctx, func() { _ = never.Close() })
			// The apiserver waits for the body. After a minute it does not, or it has answered 429 itself.
			_ = mover.Post().Namespace(b.namespace).Resource("configmaps").MaxRetries(0).Body(body).Do(ctx).Error()
			stop()
			_ = never.Close()
		}
	}()
	b.await("the cell to be crowded", func() bool {
		err := mover.Get().Namespace(b.namespace).Resource("configmaps").MaxRetries(0).Do(b.t.Context()).Error()
		return apierrors.IsTooManyRequests(err)
	})
	return leave
}

// TestTheWindowFollowsACellThatAnswers429 has a cell become crowded in the middle of a run, and empty again.
func TestTheWindowFollowsACellThatAnswers429(t *testing.T) {
	const window = 2
	b, before := growing(t, 40)
	name := b.accepted(v1alpha1.RebalanceSpec{Window: window}).Run.Name
	d := b.driver("it")
	var n atomic.Int32
	var holding atomic.Bool
	reached, crowded, recovered := make(chan struct{}), make(chan struct{}), make(chan struct{})
	enough := sync.OnceFunc(func() { close(reached) })
	d.UnitStep = func(s migration.Step) {
		if s.Name != migration.Created {
			return
		}
		if n.Add(1) >= 3 { // all of them, so that enough is left to do when the cell is crowded
			enough()
			<-crowded
		}
		if holding.Load() {
			<-recovered // the run must not end before
		}
	}
	b.start(d, name)
	goOn, end := sync.OnceFunc(func() { close(crowded) }), sync.OnceFunc(func() { close(recovered) })
	t.Cleanup(end) // the driver must not wait for a test that has failed
	t.Cleanup(goOn)
	<-reached
	leave := b.crowd("cell-3")
	goOn()
	speed := func(want metav1.ConditionStatus, reason string, window int32) func() bool {
		return func() bool {
			s := b.rebalance(name).Status
			c := apimeta.FindStatusCondition(s.Conditions, v1alpha1.ConditionFullSpeed)
			return c != nil && c.Status == want && c.Reason == reason && s.Window == window &&
				(want == metav1.ConditionTrue || strings.Contains(c.Message, "cell cell-3 answered 429"))
		}
	}
	b.await("the window to shrink", speed(metav1.ConditionFalse, rebalance.ReasonTooManyRequests, 1))
	b.awaitEvents(name, "Warning Rebalance WindowReduced")
	holding.Store(true)
	leave()
	b.await("the window to recover", speed(metav1.ConditionTrue, rebalance.ReasonFullSpeed, window))
	end()
	run := b.finish(d, v1alpha1.RebalanceSucceeded)
	if p := rebalance.ProgressOf(&run.Status); p.Moved != p.Total || p.Failed != 0 {
		t.Errorf("progress is %+v", p)
	}
	b.settled(before)
}
