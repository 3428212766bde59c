package backup_test

import (
	"context"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// TestADaemonThatStandsByFreezesWhatComesBack: the Lease of a holder that is gone keeps others from working for a while, and
// a cell that was failed over must not act meanwhile.
func TestADaemonThatStandsByFreezesWhatComesBack(t *testing.T) {
	rcp, cell := sides(t)
	federated, err := client.New(rcp)
	if err != nil {
		t.Fatal(err)
	}
	leases := kube(t, rcp).CoordinationV1().Leases(v1alpha1.Namespace)
	if err := leases.Delete(t.Context(), backup.LeaseName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	now := metav1.NewMicroTime(time.Now())
	_, err = leases.Create(t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: backup.LeaseName},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To("gone"), LeaseDurationSeconds: ptr.To[int32](3600), AcquireTime: &now, RenewTime: &now,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	daemon := start(t, rcp, "stands-by")
	before := failOver(t, federated, "cell-1")
	t.Cleanup(func() {
		daemon.stop()
		ctx := context.Background()
		writeRing(t, federated, func(s *v1alpha1.RingStatus) { s.Current, s.Unavailable = before, nil })
		if err := failover.Thaw(ctx, cell); err != nil {
			t.Error(err)
		}
		if err := leases.Delete(ctx, backup.LeaseName, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	await(t, "cell-1 to be frozen", func(ctx context.Context) (bool, error) {
		found, err := federated.Cells().Get(ctx, "cell-1", metav1.GetOptions{})
		return err == nil && meta.IsStatusConditionTrue(found.Status.Conditions, v1alpha1.ConditionFrozen), err
	})
	if got := metrics(t, daemon); !strings.Contains(got, "kubecell_backup_leader 0") {
		t.Errorf("the daemon works, which is not what this is about:\n%s", got)
	}
}

// failOver has the ring be as it is after a failover, and returns the layout of before.
func failOver(t *testing.T, federated *client.Client, cell string) *v1alpha1.RingLayout {
	t.Helper()
	var before *v1alpha1.RingLayout
	writeRing(t, federated, func(s *v1alpha1.RingStatus) {
		before = s.Current.DeepCopy()
		s.Current.Members[0].Cell = "cell-2"
		s.Unavailable = []string{cell}
	})
	return before
}

func writeRing(t *testing.T, federated *client.Client, change func(*v1alpha1.RingStatus)) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	ring, err := federated.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	change(&ring.Status)
	ring.Status.Epoch++
	if _, err := federated.Rings().UpdateStatus(ctx, ring, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}
