package failover_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// TestAFailbackMakesWay: it waits for a router that is dead, and another cell dies. The failover of that does not wait for the
// failback, which goes on afterwards.
func TestAFailbackMakesWay(t *testing.T) {
	b := newBed(t)
	ours, others := b.fill(3)
	all := append(slices.Clone(ours), others...)
	b.backUp(all...)
	b.dies("cell-1")
	b.carryOut(b.order(v1alpha1.FailoverSpec{Cell: "cell-1"}).Name, v1alpha1.FailoverSucceeded)
	b.backUp(all...)
	for _, cell := range []string{"cell-2", "cell-3"} {
		b.publish(cell, b.ring().Status.Epoch)
	}
	b.gates["cell-1"].Pass()
	const silent = "router-silent"
	b.silentRouter(silent, "")
	failback := &failover.Failback{
		RCP: b.rcp, Identity: "returning", LeaseDuration: steadyLease, Cell: "cell-1", Dir: t.TempDir(), Host: "here", Logger: quiet(),
	}
	ctx, cancel := contextWithTimeout(t, 3*patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := failback.Run(ctx)
		ended <- err
	}()
	b.await("the failback to wait for the router", func() bool { return slices.Equal(b.begun("cell-1"), []string{"compare", "admit"}) })
	b.gates["cell-2"].Vanish()
	b.await("the router to give cell-2 up", func() bool {
		facts, err := failover.Read(t.Context(), b.rcp, "cell-2")
		b.must(err)
		return slices.ContainsFunc(facts.Witnesses, func(w failover.Witness) bool { return w.Err == nil && !w.View.Reachable })
	})
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-2", IgnoreRouters: []string{silent}})
	b.carryOut(run.Name, v1alpha1.FailoverSucceeded)
	if err := <-ended; exit.CodeOf(err) != exit.Partial || !strings.Contains(err.Error(), "makes way") {
		t.Errorf("the failback ended with %v; want that it makes way", err)
	}
	b.usable("cell-2", "1", all...)
	b.must(b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Delete(t.Context(), silent, metav1.DeleteOptions{}))
	back, err := failback.Run(ctx)
	b.must(err)
	if s := b.ring().Status; back.Status.Phase != v1alpha1.FailoverSucceeded || !slices.Equal(s.Unavailable, []string{"cell-2"}) {
		t.Errorf("the failback ended %s, and the ring is %+v", back.Status.Phase, s)
	}
}

// begun are the steps of the failback of a cell so far.
func (b *bed) begun(cell string) (names []string) {
	b.t.Helper()
	list, err := b.client.Failovers().List(b.t.Context(), metav1.ListOptions{})
	b.must(err)
	for _, run := range list.Items {
		if run.Spec.Cell != cell || run.Spec.Direction != v1alpha1.DirectionFailback {
			continue
		}
		for _, step := range run.Status.Steps {
			names = append(names, step.Name)
		}
	}
	return names
}

// TestWhoHoldsTheLease is told by whoever waits for it, and is in no record.
func TestWhoHoldsTheLease(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(1)
	b.backUp(ours...)
	b.dies("cell-1")
	now, seconds, holder := metav1.NewMicroTime(time.Now()), int32(60), "somebody"
	leases := b.kube.CoordinationV1().Leases(v1alpha1.Namespace)
	held := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.FailoverLease},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, AcquireTime: &now, RenewTime: &now},
	}
	_, err := leases.Create(t.Context(), held, metav1.CreateOptions{})
	b.must(err)
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1"})
	d, ctx, kill := b.driver()
	told := make(chan string, 100)
	d.Tell = func(run *v1alpha1.Failover) {
		for _, c := range run.Status.Conditions {
			if c.Reason == failover.ReasonHeldByAnother {
				told <- c.Message
			}
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := d.Run(ctx, run.Name)
		ended <- err
	}()
	select {
	case said := <-told:
		if !strings.Contains(said, holder) {
			t.Errorf("told %q; want it to name %s", said, holder)
		}
	case err := <-ended:
		t.Fatalf("it ended with %v", err)
	case <-time.After(patience):
		t.Fatal("nobody was told whom the driver waits for")
	}
	written, err := b.client.Failovers().Get(t.Context(), run.Name, metav1.GetOptions{})
	b.must(err)
	if len(written.Status.Conditions) > 0 {
		t.Errorf("the record says %+v", written.Status.Conditions)
	}
	kill()
	if err := <-ended; !errors.Is(err, ctx.Err()) {
		t.Errorf("it ended with %v", err)
	}
}
