package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/verify"
)

// TestWhatIsNotComparedIsSaid: that nothing was found says nothing of the envelopes while the backup catches up, however long it
// does, or where what it publishes cannot be read.
func TestWhatIsNotComparedIsSaid(t *testing.T) {
	b := newBed(t)
	b.unpublishes()
	b.protected("cell-1", "bystander")
	name, _, _ := b.at("cell-1", "bare")
	b.create("cell-1", name, "1")
	epoch := b.snap.Epoch
	unreadable := "config map kubecell-marks-cell-3 in the router control plane cannot be read"
	for _, c := range []struct {
		name        string
		works       bool
		last        string // what is published of cell-3, the others being complete
		unprotected int64
		warning     string // "" for that all envelopes were compared
	}{
		{"complete", true, b.settled("cell-3", epoch), 1, ""},
		{"catching up", true, b.settled("cell-3", epoch-1), 0, fmt.Sprintf("the backup is catching up with epoch %d in cell cell-3: envelopes were not compared", epoch)},
		{"unreadable", true, "{", 0, unreadable},
		{"unreadable, and no daemon works", false, "{", 1, unreadable},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.daemon(c.works)
			b.publishes("cell-1", b.settled("cell-1", epoch))
			b.publishes("cell-2", b.settled("cell-2", epoch))
			b.publishes("cell-3", c.last)
			r := b.run()
			if r.Counts[verify.Unprotected] != c.unprotected || int64(len(r.Findings)) != c.unprotected || r.Uncompared != (c.warning != "") {
				t.Errorf("findings %s, uncompared %v; want %d unprotected, and %v", describe(r.Findings), r.Uncompared, c.unprotected, c.warning != "")
			}
			if !strings.Contains(strings.Join(r.Warnings, "\n"), c.warning) {
				t.Errorf("warnings %q; want %q", r.Warnings, c.warning)
			}
		})
	}
}

// TestTheRingChangesMeanwhile: what is looked at closer waits for the backup then, and was not compared.
func TestTheRingChangesMeanwhile(t *testing.T) {
	b := newBed(t)
	b.unpublishes()
	b.daemon(true)
	for _, cell := range cellNames {
		b.publishes(cell, b.settled(cell, b.snap.Epoch))
	}
	name, _, _ := b.at("cell-1", "bare")
	b.create("cell-1", name, "1")
	var once sync.Once
	options := b.options()
	options.WrapCell = func(_ string, config *rest.Config) {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return before{func(r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/configmaps/"+name) {
					once.Do(func() { b.setRing(func(*v1alpha1.RingStatus) {}) })
				}
			}, next}
		})
	}
	r, err := verify.Run(t.Context(), options)
	b.must(err)
	if len(r.Findings) > 0 || r.Pending != 1 || !r.Uncompared || r.Epoch != b.snap.Epoch {
		t.Errorf("findings %s, pending %d, uncompared %v, epoch %d; want none, 1, true and %d", describe(r.Findings), r.Pending, r.Uncompared, r.Epoch, b.snap.Epoch)
	}
}

// before is a way to a cell on which something is done before each request.
type before struct {
	do   func(*http.Request)
	next http.RoundTripper
}

func (b before) RoundTrip(r *http.Request) (*http.Response, error) {
	b.do(r)
	return b.next.RoundTrip(r)
}

// daemon has the Lease say whether a backup daemon works.
func (b *bed) daemon(works bool) {
	b.t.Helper()
	ctx := context.WithoutCancel(b.t.Context())
	leases := b.kube.CoordinationV1().Leases(v1alpha1.Namespace)
	held, err := leases.Get(ctx, backup.LeaseName, metav1.GetOptions{})
	b.must(err)
	held.Spec = coordinationv1.LeaseSpec{}
	if works {
		holder, duration, now := b.t.Name(), int32(3600), metav1.NowMicro()
		held.Spec = coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &duration, RenewTime: &now}
	}
	_, err = leases.Update(ctx, held, metav1.UpdateOptions{})
	b.must(err)
}

// unpublishes takes back, when the test ends, that a daemon works, and what it has published.
func (b *bed) unpublishes() {
	b.t.Cleanup(func() {
		b.daemon(false)
		for _, cell := range cellNames {
			b.publishes(cell, "")
		}
	})
}

// settled is what a daemon publishes of a cell whose envelopes are complete for an epoch.
func (b *bed) settled(cell string, epoch int64) string {
	b.t.Helper()
	text, err := json.Marshal(backup.Published{Cell: cell, Time: time.Now(), Epoch: epoch})
	b.must(err)
	return string(text)
}

// publishes replaces what a daemon has published of a cell, by nothing where marks is empty.
func (b *bed) publishes(cell, marks string) {
	b.t.Helper()
	ctx := context.WithoutCancel(b.t.Context())
	maps, name := b.kube.CoreV1().ConfigMaps(v1alpha1.Namespace), v1alpha1.MarksPrefix+cell
	if err := maps.Delete(ctx, name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
		b.must(err)
	}
	if marks == "" {
		return
	}
	_, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentMarks}},
		Data:       map[string]string{v1alpha1.MarksKey: marks},
	}, metav1.CreateOptions{})
	b.must(err)
}
