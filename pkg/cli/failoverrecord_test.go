package cli_test

import (
	"context"

	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// failover is the command of scripts that leaves the record of a failover which promotes copies, until the end of the
// script; with a second word, somebody of that name drives it.
//
//	failover CELL [DRIVER]
func (b *bed) failover(ts *testscript.TestScript, _ bool, args []string) {
	ctx, records := context.Background(), b.client.Failovers()
	run, err := records.Create(ctx, &v1alpha1.Failover{
		ObjectMeta: metav1.ObjectMeta{Name: "fo-" + args[0]}, Spec: v1alpha1.FailoverSpec{Cell: args[0], ConfirmEpoch: 1},
	}, metav1.CreateOptions{})
	ts.Check(err)
	ts.Defer(func() { ts.Check(records.Delete(ctx, run.Name, metav1.DeleteOptions{})) })
	started := metav1.NewMicroTime(scriptTime())
	run.Status = v1alpha1.FailoverStatus{
		Phase: v1alpha1.FailoverRunning,
		Steps: []v1alpha1.FailoverStep{{Name: "fence", StartTime: &started, CompletionTime: ptr.To(started)}, {Name: "promote", StartTime: &started}},
		Cells: []v1alpha1.FailoverCell{{Cell: "cell-1", Promoted: 1000, Total: 4000}, {Cell: "cell-2", Promoted: 500, Total: 3000}},
	}
	if len(args) > 1 {
		run.Status.Driver = args[1]
		b.hold(ts, metav1.ObjectMeta{Name: v1alpha1.FailoverLease}, args[1], 0, 0)
	}
	_, err = records.UpdateStatus(ctx, run, metav1.UpdateOptions{})
	ts.Check(err)
}
