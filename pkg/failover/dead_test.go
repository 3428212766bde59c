package failover_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

// silentRouter registers a router that acknowledges nothing and has not shown for an hour that it lives. It has an admin port
// where a URL is given.
func (b *bed) silentRouter(name, url string) {
	b.t.Helper()
	b.silence(b.laggingRouter(name, url))
}

// laggingRouter registers a router that lives, and acknowledges nothing.
func (b *bed) laggingRouter(name, url string) *coordinationv1.Lease {
	b.t.Helper()
	now := metav1.NewMicroTime(time.Now())
	lease, err := b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Create(b.t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{v1alpha1.LabelComponent: "router"}, Annotations: map[string]string{v1alpha1.AnnotationAdminURL: url},
		},
		Spec: coordinationv1.LeaseSpec{RenewTime: &now},
	}, metav1.CreateOptions{})
	b.must(err)
	return lease
}

// silence has a router not have shown for an hour that it lives. When that was written must not count, so it is forgotten.
func (b *bed) silence(lease *coordinationv1.Lease) {
	b.t.Helper()
	late := metav1.NewMicroTime(time.Now().Add(-time.Hour))
	lease.Spec.RenewTime, lease.ManagedFields = &late, []metav1.ManagedFieldsEntry{{}}
	_, err := b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Update(b.t.Context(), lease, metav1.UpdateOptions{})
	b.must(err)
}

// adminURL is that of the router of the test.
func (b *bed) adminURL() string {
	b.t.Helper()
	all, err := routers.List(b.t.Context(), b.kube)
	b.must(err)
	i := slices.IndexFunc(all, func(r routers.Router) bool { return r.AdminURL != "" })
	if i < 0 {
		b.t.Fatalf("no router has an admin port: %+v", all)
	}
	return all[i].AdminURL
}

// TestARouterThatAnswersIsNotIgnored: cut off from the RCP it may serve by the ring that it has, and write to the cell. It has to
// be ended before that is failed over, whatever flags there are.
func TestARouterThatAnswersIsNotIgnored(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	const name = "router-cutoff"
	b.silentRouter(name, b.adminURL())
	spec := v1alpha1.FailoverSpec{Cell: "cell-1", Force: true, ConfirmEpoch: b.ring().Status.Epoch, IgnoreRouters: []string{name}}
	started, err := failover.Start(t.Context(), b.rcp, spec, false)
	b.must(err)
	hint := exit.HintOf(started.Refused, exit.Plugin)
	if exit.CodeOf(started.Refused) != exit.Refused || !strings.Contains(started.Refused.Error(), "router "+name+" is cut off") ||
		!strings.Contains(hint, "router stop") || strings.Contains(hint, "--ignore-router") {
		t.Errorf("refused: %v; hint: %s", started.Refused, hint)
	}
	if s := b.ring().Status; len(s.Unavailable) > 0 {
		t.Errorf("the ring is %+v", s)
	}
}

// TestARouterIsIgnoredWhileItIsDead: one that lives is waited for all the same, and so is one that answers at its admin port.
func TestARouterIsIgnoredWhileItIsDead(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	b.dies("cell-1")
	const name = "router-lags"
	leases := b.kube.CoordinationV1().Leases(v1alpha1.Namespace)
	b.laggingRouter(name, "")
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1", IgnoreRouters: []string{name}})
	d, ctx, _ := b.driver()
	ended := make(chan error, 1)
	go func() {
		_, err := d.Run(ctx, run.Name)
		ended <- err
	}()
	waits := func(seen string) {
		t.Helper()
		b.await("the run to wait for the router, last seen "+seen, func() bool {
			now, err := b.client.Failovers().Get(t.Context(), run.Name, metav1.GetOptions{})
			b.must(err)
			said := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionRoutersAcknowledged)
			return said != nil && said.Status == metav1.ConditionFalse && strings.Contains(said.Message, name) && strings.Contains(said.Message, "last seen "+seen)
		})
	}
	waits("")
	lease, err := leases.Get(t.Context(), name, metav1.GetOptions{})
	b.must(err)
	lease.Annotations[v1alpha1.AnnotationAdminURL] = b.adminURL()
	b.silence(lease)
	waits("1h0m")
	if s := b.ring().Status; !slices.Equal(s.Unavailable, []string{"cell-1"}) || len(s.Current.Members) != 3 {
		t.Errorf("the run went on: %+v", s)
	}
	lease, err = leases.Get(t.Context(), name, metav1.GetOptions{})
	b.must(err)
	lease.Annotations[v1alpha1.AnnotationAdminURL] = ""
	b.silence(lease)
	b.must(<-ended)
	b.usable("cell-1", "1", ours...)
}
