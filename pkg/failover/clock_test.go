package failover_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// TestSilenceIsNoMatterOfClocks: neither the clock of a router nor that of the command says whether a router is silent.
func TestSilenceIsNoMatterOfClocks(t *testing.T) {
	b := newBed(t)
	leases := b.kube.CoordinationV1().Leases(v1alpha1.Namespace)
	const name = "router-skewed"
	t.Cleanup(func() {
		if err := leases.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	late := metav1.NewMicroTime(time.Now().Add(-time.Hour))
	router, err := leases.Create(t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelComponent: "router"}},
		Spec:       coordinationv1.LeaseSpec{RenewTime: &late},
	}, metav1.CreateOptions{})
	b.must(err)
	if why := b.objections(b.rcp); strings.Contains(why, name) {
		t.Errorf("the clock of a router that lives is an hour behind: %s", why)
	}
	early := metav1.NewMicroTime(time.Now().Add(time.Hour))
	router.Spec.RenewTime = &early
	_, err = leases.Update(t.Context(), router, metav1.UpdateOptions{})
	b.must(err)
	for ahead, want := range map[time.Duration]bool{0: false, 20 * time.Second: false, 2 * time.Minute: true} {
		later := rest.CopyConfig(b.rcp)
		later.Wrap(func(next http.RoundTripper) http.RoundTripper { return dated{next, ahead} })
		if why := b.objections(later); strings.Contains(why, "router "+name+" is silent") != want {
			t.Errorf("%s after the last sign of a router whose clock is an hour ahead: %q", ahead, why)
		}
	}
}

// objections are what speaks against a failover of cell-1, but for losses and that it answers.
func (b *bed) objections(rcp *rest.Config) string {
	b.t.Helper()
	facts, err := failover.Read(b.t.Context(), rcp, "cell-1")
	b.must(err)
	found, err := failover.Report(facts)
	b.must(err)
	spec := v1alpha1.FailoverSpec{Cell: "cell-1", Force: true, AcceptLoss: failover.Loss(&found.FailoverReport), ConfirmEpoch: facts.Ring.Status.Epoch}
	if err := failover.Gate(facts, &found.FailoverReport, &spec); err != nil {
		return err.Error()
	}
	return ""
}

// dated is a way to a server by whose clock it is later.
type dated struct {
	http.RoundTripper
	ahead time.Duration
}

func (d dated) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Header.Set("Date", time.Now().Add(d.ahead).UTC().Format(http.TimeFormat))
	}
	return answer, err
}
