package verify_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/verify"
)

// TestACellIsLostWhileARepairMends: two orphans were confirmed, and their objects are made anew, with envelopes, before anything
// is mended. Then their cell does not answer any more: that neither can be seen does not mean that they are gone.
func TestACellIsLostWhileARepairMends(t *testing.T) {
	b := newBed(t)
	var orphans []*corev1.ConfigMap
	homes := map[string]string{}
	for _, prefix := range []string{"first", "second"} {
		cm, home, _ := b.protected("cell-1", prefix)
		b.must(b.configMaps("cell-1").Delete(t.Context(), cm.Name, metav1.DeleteOptions{}))
		orphans, homes[cm.Name] = append(orphans, cm), home
	}
	fresh := map[string]*corev1.Secret{}
	var away atomic.Bool
	madeAnew := func() {
		for _, cm := range orphans {
			secrets := b.cells[homes[cm.Name]].CoreV1().Secrets(v1alpha1.Namespace)
			b.must(secrets.Delete(t.Context(), envelope.Name("", "configmaps", b.namespace, cm.Name), metav1.DeleteOptions{}))
			fresh[cm.Name] = b.seal(b.create("cell-1", cm.Name, "2"), "cell-1", homes[cm.Name])
		}
		away.Store(true)
	}
	options := b.options()
	options.WrapCell = func(name string, config *rest.Config) {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if name == "cell-1" && away.Load() {
					return nil, errors.New("it is away")
				}
				return next.RoundTrip(r)
			})
		})
	}
	options.RCP = rest.CopyConfig(b.rcp)
	rings, listed := 0, false
	options.RCP.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			switch {
			case r.Method != http.MethodGet:
			case strings.HasSuffix(r.URL.Path, "/rebalances"):
				listed = true // of a look at the whole world, which ends with the ring
			case strings.Contains(r.URL.Path, "/rings/"):
				// Whatever is mended, the ring alone is read before. So it is once at the beginning.
				if rings++; !listed && rings > 1 && len(fresh) == 0 {
					madeAnew()
				}
				listed = false
			}
			return next.RoundTrip(r)
		})
	})
	r, err := verify.Repair(t.Context(), verify.RepairOptions{Options: options, Identity: t.Name(), LeaseDuration: steadyLease})
	b.must(err)
	if len(fresh) != len(orphans) || len(r.Findings) != len(orphans) || !r.Unread() {
		t.Fatalf("%d objects were made anew, findings %s; want two orphans, and that the cell was lost", len(fresh), describe(r.Findings))
	}
	for _, f := range r.Findings {
		if f.Class != verify.Orphaned || f.Repaired || f.Problem == "" {
			t.Errorf("%s: repaired %v, problem %q; want that nobody can tell", f.Object, f.Repaired, f.Problem)
		}
	}
	for name, secret := range fresh {
		found, err := b.cells[homes[name]].CoreV1().Secrets(v1alpha1.Namespace).Get(t.Context(), secret.Name, metav1.GetOptions{})
		if err != nil || found.UID != secret.UID {
			t.Errorf("the envelope of %s, which was made anew: %v", name, err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
