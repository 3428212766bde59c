package failover_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestCredentialsAreRenewedWhileCopiesArePromoted: those that the run began with may nothing any more in a survivor, and it goes
// on with those that the federation has by then.
func TestCredentialsAreRenewedWhileCopiesArePromoted(t *testing.T) {
	b := newBed(t)
	names := b.backedUpIn("cell-2", 2)
	b.dies("cell-1")
	run := b.order(v1alpha1.FailoverSpec{Cell: "cell-1"})
	token, forbid := b.account("cell-2")
	d, ctx, _ := b.driver()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	wrap, former := d.WrapCell, true
	d.WrapCell = func(name string, config *rest.Config) {
		if name == "cell-2" && config.Impersonate.UserName == v1alpha1.UserMover && former {
			former = false
			*config = *rest.AnonymousClientConfig(config)
			config.BearerToken, config.Impersonate.UserName, config.Impersonate.Groups = token, v1alpha1.UserMover, []string{v1alpha1.GroupMovers}
			config.Wrap(func(next http.RoundTripper) http.RoundTripper {
				return roundTrip(func(r *http.Request) (*http.Response, error) {
					if r.Method != http.MethodGet {
						forbid()
					}
					return next.RoundTrip(r)
				})
			})
		}
		wrap(name, config)
	}
	ended, err := d.Run(ctx, run.Name)
	if err != nil || ended.Status.Phase != v1alpha1.FailoverSucceeded || ended.Status.KeptObjects != 0 {
		t.Fatalf("%v; it ended %+v", err, ended)
	}
	if former {
		t.Error("nobody was refused")
	}
	b.usable("cell-1", "1", names...)
}

// account makes one in a cell that may everything until forbid returns.
func (b *bed) account(cell string) (token string, forbid func()) {
	b.t.Helper()
	kube := b.cells[cell]
	former := sandboxtest.NewAccount(b.t, b.configs[cell])
	asks := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               former.User(),
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "impersonate", Resource: "users", Name: v1alpha1.UserMover},
	}}
	may := func(want bool) {
		err := wait.PollUntilContextTimeout(context.Background(), 20*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
			answer, err := kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, asks, metav1.CreateOptions{})
			return err == nil && answer.Status.Allowed == want, nil
		})
		if err != nil {
			b.t.Errorf("that the account may impersonate is not %v: %v", want, err)
		}
	}
	may(true)
	return former.Config.BearerToken, sync.OnceFunc(func() {
		former.Forbid()
		may(false)
	})
}
