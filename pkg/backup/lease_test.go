package backup_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// cutOff is a way to the RCP on which nothing renews a Lease once it is cut.
type cutOff struct {
	http.RoundTripper
	cut *atomic.Bool
}

// RoundTrip implements [http.RoundTripper].
func (c cutOff) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/leases/") && c.cut.Load() {
		return nil, errors.New("cut off")
	}
	return c.RoundTripper.RoundTrip(r)
}

// TestWorkThatOutlivesItsLeaseWritesNothing, neither in the RCP nor in a cell: somebody else may be at work, and know better.
func TestWorkThatOutlivesItsLeaseWritesNothing(t *testing.T) {
	rcp, cell := sides(t)
	before := start(t, rcp, "before")
	wantWork(t, rcp, cell, "before-it-is-over")
	before.stop()
	roles := kube(t, rcp).RbacV1().ClusterRoles()
	if _, err := roles.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "late"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := roles.Delete(context.Background(), "late", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	var cut atomic.Bool
	renewing := rest.CopyConfig(rcp)
	renewing.Wrap(func(next http.RoundTripper) http.RoundTripper { return cutOff{next, &cut} })
	asked := &requests{counts: map[string]int{}}
	working := rest.CopyConfig(rcp)
	working.Wrap(func(next http.RoundTripper) http.RoundTripper { return lifeline{context.Background(), asked, next} })
	err := lease.Hold(t.Context(), lease.Config{Kube: kube(t, renewing), Name: "test-over", Identity: "it", Duration: 3 * time.Second}, func(held context.Context) error {
		cut.Store(true)
		<-held.Done()
		over, end := context.WithCancel(context.WithoutCancel(held))
		defer end()
		await(t, "the lease to be over", func(context.Context) (bool, error) { return lease.Overdue(over), nil })
		registry, said := prometheus.NewRegistry(), &sandboxtest.Buffer{}
		ended := make(chan error, 1)
		go func() {
			ended <- backup.Work(over, backup.Config{RCP: working, Identity: "it", Logger: slog.New(slog.NewTextHandler(said, nil)), Now: time.Now}, registry)
		}()
		await(t, "a mark and a copy to be refused", func(context.Context) (bool, error) {
			return strings.Contains(said.String(), "cannot publish how far the backup has come") && counted(t, registry, "kubecell_replication_failures_total") > 0, nil
		})
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		return context.Cause(held)
	})
	if !errors.Is(err, lease.ErrLost) {
		t.Errorf("the work ended with %v; want %v", err, lease.ErrLost)
	}
	if writes := asked.writes(); len(writes) > 0 {
		t.Errorf("written in the RCP: %q", writes)
	}
	if _, err := kube(t, cell).RbacV1().ClusterRoles().Get(t.Context(), "late", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a copy in the cell: %v; want not found", err)
	}
}

// counted is the sum of a counter's series.
func counted(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		for _, series := range family.GetMetric() {
			if family.GetName() == name {
				sum += series.GetCounter().GetValue()
			}
		}
	}
	return sum
}
