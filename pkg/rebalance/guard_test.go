package rebalance_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	holding "github.com/kubecell/kubectl-cell/pkg/lease"
)

// cutOff is a way to the RCP on which nothing renews a Lease once it is cut.
type cutOff struct {
	http.RoundTripper
	cut *atomic.Bool
}

// RoundTrip implements [http.RoundTripper].
func (c cutOff) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPut || !c.cut.Load() {
		return c.RoundTripper.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	_ = r.Body.Close()
	if bytes.Contains(body, []byte(`"holderIdentity":"it"`)) {
		return nil, errors.New("cut off")
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	return c.RoundTripper.RoundTrip(r)
}

// holdCutOff works under a Lease that cannot be renewed, from when its work was told to end.
func (b *bed) holdCutOff(name string, work func(ctx context.Context)) {
	b.t.Helper()
	var cut atomic.Bool
	config := rest.CopyConfig(b.rcp)
	config.ContentType = runtime.ContentTypeJSON // which cutOff reads
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return cutOff{next, &cut} })
	kube, err := kubernetes.NewForConfig(config)
	b.must(err)
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	err = holding.Hold(ctx, holding.Config{Kube: kube, Name: name, Identity: "it", Duration: lease}, func(ctx context.Context) error {
		cut.Store(true)
		<-ctx.Done()
		work(ctx)
		return context.Cause(ctx)
	})
	if !errors.Is(err, holding.ErrLost) {
		b.t.Errorf("the work ended with %v; want %v", err, holding.ErrLost)
	}
}

// TestALeaseIsGivenUpOnceItsWorkHasEnded, and not when the work is told to end.
func TestALeaseIsGivenUpOnceItsWorkHasEnded(t *testing.T) {
	b := newBed(t, member(1, 100), member(2, 100))
	const name = "test-given-up-late"
	holder := func() string {
		l, err := b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(t.Context(), name, metav1.GetOptions{})
		b.must(err)
		return *l.Spec.HolderIdentity
	}
	b.holdCutOff(name, func(context.Context) {
		if got := holder(); got != "it" {
			t.Errorf("the lease is held by %q while its work ends", got)
		}
	})
	if got := holder(); got != "" {
		t.Errorf("the lease is held by %q once its work has ended", got)
	}
}

// TestNoClientWritesOnceTheLeaseIsOver, neither in the RCP nor in a cell: work that goes on all the same is refused, and can
// find out whether somebody else is at work.
func TestNoClientWritesOnceTheLeaseIsOver(t *testing.T) {
	b := newBed(t, member(1, 100), member(2, 100))
	const name = "test-over"
	ways := map[string]kubernetes.Interface{}
	kube, _, err := client.Connect(b.rcp)
	b.must(err)
	ways["the RCP"] = kube
	access, err := federation.Cells(t.Context(), b.rcp)
	b.must(err)
	for cell, a := range access {
		b.must(a.Err)
		ways[cell] = kubeOf(t, a.Config)
		ways["an endpoint of "+cell] = kubeOf(t, a.Endpoints[0])
	}
	b.holdCutOff(name, func(ended context.Context) {
		ctx := context.WithoutCancel(ended)
		b.await("the lease to be over", func() bool { return holding.Overdue(ctx) })
		if holding.TakenOver(ctx) {
			t.Error("nobody has taken over, and somebody has")
		}
		for what, kube := range ways {
			maps := kube.CoreV1().ConfigMaps(metav1.NamespaceDefault)
			if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "late"}}, metav1.CreateOptions{}); !errors.Is(err, holding.ErrLost) {
				t.Errorf("a write to %s ended with %v; want %v", what, err, holding.ErrLost)
			}
			if _, err := maps.List(ctx, metav1.ListOptions{}); err != nil {
				t.Errorf("a read of %s: %v", what, err)
			}
		}
		for _, holder := range []string{"other", ""} {
			b.take(name, holder)
			b.await("the takeover to be known", func() bool { return holding.TakenOver(ctx) })
		}
	})
}
