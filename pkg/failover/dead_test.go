package failover_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
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

// answering is an admin port at which a router answers of that name.
func (b *bed) answering(name string) (url string) {
	b.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var said any = router.Views{Router: name}
		if r.URL.Path == "/ledger" {
			said = ledger.Report{Router: name, Complete: true}
		}
		_ = json.NewEncoder(w).Encode(said) // an error is that of who asked
	}))
	b.t.Cleanup(server.Close)
	return server.URL
}

// TestARouterThatAnswersIsNotIgnored: cut off from the RCP it may serve by the ring that it has, and write to the cell. It has to
// be ended before that is failed over, whatever flags there are.
func TestARouterThatAnswersIsNotIgnored(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	const name = "router-cutoff"
	b.silentRouter(name, b.answering(name))
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
	lease.Annotations[v1alpha1.AnnotationAdminURL] = b.answering(name)
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

// TestAnotherRouterAtTheAddressOfADeadOne does not answer for it: who knows that it is dead can have it ignored, or forget it, and
// nobody is told to end the one that lives. What is said names both.
func TestAnotherRouterAtTheAddressOfADeadOne(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	b.dies("cell-1")
	const name = "router-dead"
	b.silentRouter(name, b.adminURL())
	spec := v1alpha1.FailoverSpec{Cell: "cell-1", ConfirmEpoch: b.ring().Status.Epoch}
	started, err := failover.Start(t.Context(), b.rcp, spec, true)
	b.must(err)
	hint := exit.HintOf(started.Refused, exit.Plugin)
	if exit.CodeOf(started.Refused) != exit.Refused || !strings.Contains(started.Refused.Error(), "router "+name+" is silent") ||
		!strings.Contains(started.Refused.Error(), " answers at its address "+b.adminURL()) ||
		!strings.Contains(hint, "--ignore-router="+name) || !strings.Contains(hint, "router forget "+name) || strings.Contains(hint, "router stop") {
		t.Errorf("refused: %v; hint: %s", started.Refused, hint)
	}
	spec.IgnoreRouters = []string{name}
	run := b.carryOut(b.order(spec).Name, v1alpha1.FailoverSucceeded)
	found := run.Status.Report
	i := slices.IndexFunc(found.Routers, func(r v1alpha1.FailoverRouter) bool { return r.Name == name })
	if i < 0 || found.Routers[i].Answered || !strings.Contains(found.Routers[i].Message, "answers at its address") {
		t.Errorf("the record says of the routers %+v; want that another one has the address of %s", found.Routers, name)
	}
	if agree, asked := failover.Agreement(found); agree != 1 || asked != 1 {
		t.Errorf("%d of %d routers agree; want the one that lives alone", agree, asked)
	}
	b.usable("cell-1", "1", ours...)
}

// TestDeadRoutersAreAskedAtOnce: each may take its time to be found dead, and the keys of the cell are refused until then.
func TestDeadRoutersAreAskedAtOnce(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(2)
	b.backUp(ours...)
	b.dies("cell-1")
	names := []string{"router-dead-1", "router-dead-2", "router-dead-3"}
	var fencing atomic.Bool // while the run waits for the fence, and asks routers for nothing else
	var asking atomic.Int32
	all := make(chan struct{})
	met := sync.OnceFunc(func() { close(all) })
	port := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fencing.Load() {
			if asking.Add(1) == int32(len(names)) {
				met()
			}
			select {
			case <-all:
			case <-r.Context().Done(): // it is not waited for any more
			}
			asking.Add(-1)
		}
		http.Error(w, "it is no router any more", http.StatusNotFound)
	}))
	t.Cleanup(port.Close)
	for _, name := range names {
		b.silentRouter(name, port.URL)
	}
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1", IgnoreRouters: names})
	d, ctx, _ := b.driver()
	d.Step = func(s failover.StepName) {
		switch s {
		case failover.StepFence:
			fencing.Store(true)
		case failover.StepFreeze:
			fencing.Store(false)
		}
	}
	_, err := d.Run(ctx, run.Name)
	b.must(err)
	select {
	case <-all:
	default:
		t.Error("they were asked one after the other")
	}
	b.usable("cell-1", "1", ours...)
}
