package failover_test

import (
	"context"
	"fmt"
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

// TestTheAgeOfAMarkIsNoMatterOfClocks: copies that it has counted are missed once the RCP has had it for long enough, wherever the
// clock of the backup stands.
func TestTheAgeOfAMarkIsNoMatterOfClocks(t *testing.T) {
	b := newBed(t)
	for name, at := range map[string]time.Time{"behind": time.Now().Add(-time.Hour), "ahead": time.Now().Add(time.Hour)} {
		b.markAt("cell-1", at, nil, b.ring().Status.Epoch, nil)
		b.remark("cell-1", func(mark map[string]any) { mark["envelopes"] = 3 })
		for ahead, want := range map[time.Duration]int64{-time.Minute: 0, 2 * time.Minute: 3} {
			later := rest.CopyConfig(b.rcp)
			later.Wrap(func(next http.RoundTripper) http.RoundTripper { return dated{next, ahead} })
			facts, err := failover.Read(t.Context(), later, "cell-1")
			b.must(err)
			found, err := failover.Report(facts)
			b.must(err)
			if found.Unknown != want {
				t.Errorf("%s after the mark of a backup whose clock is %s %d copies are missed, want %d", ahead, name, found.Unknown, want)
			}
		}
	}
}

// TestWhichCountIsNewerIsNoMatterOfClocks: what a cell took over by a failover is in the last count of its objects only where the
// RCP has stored that later than the end of the failover, wherever the clock of its driver stands.
func TestWhichCountIsNewerIsNoMatterOfClocks(t *testing.T) {
	b := newBed(t)
	epoch := b.ring().Status.Epoch
	b.count("cell-1", 7)
	run, err := b.client.Failovers().Create(t.Context(), &v1alpha1.Failover{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("fo-%d", epoch+1)},
		Spec:       v1alpha1.FailoverSpec{Cell: "cell-3", Direction: v1alpha1.DirectionFailover, ConfirmEpoch: epoch},
	}, metav1.CreateOptions{})
	b.must(err)
	ended := metav1.NewTime(time.Now().Add(-time.Hour))
	run.Status = v1alpha1.FailoverStatus{
		Phase: v1alpha1.FailoverSucceeded, ToEpoch: epoch + 1, CompletionTime: &ended,
		Cells: []v1alpha1.FailoverCell{{Cell: "cell-1", Total: 5, Promoted: 5}},
	}
	_, err = b.client.Failovers().UpdateStatus(t.Context(), run, metav1.UpdateOptions{})
	b.must(err)
	facts, err := failover.Read(t.Context(), b.rcp, "cell-1")
	b.must(err)
	if facts.TakenOver != 5 || facts.Uncounted != 5 {
		t.Errorf("it took over %d objects, of which the count lacks %d; want 5 and 5", facts.TakenOver, facts.Uncounted)
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
