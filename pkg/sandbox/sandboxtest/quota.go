package sandboxtest

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

const (
	quotaEvery    = 10 * time.Millisecond
	quotaPatience = time.Minute
)

// DivideQuota divides a quota of config maps, as a backup daemon does, until each cell of the current ring has the part that it
// uses.
func DivideQuota(t testing.TB, rcp *rest.Config, cells map[string]*rest.Config, ring *v1alpha1.Ring, namespace, name string) {
	t.Helper()
	snap, err := routing.FromRing(ring)
	if err != nil {
		t.Fatal(err)
	}
	q := replication.Quotas{Snapshot: snap, Client: func(cell string) (dynamic.Interface, error) { return dynamic.NewForConfig(cells[cell]) }}
	if q.RCP, err = dynamic.NewForConfig(rcp); err != nil {
		t.Fatal(err)
	}
	var members []kubernetes.Interface
	for _, m := range ring.Status.Current.Members {
		kube, err := kubernetes.NewForConfig(cells[m.Cell])
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, kube)
	}
	quota := replication.Object{Resource: corev1.SchemeGroupVersion.WithResource("resourcequotas"), Namespace: namespace, Name: name}
	err = wait.PollUntilContextTimeout(t.Context(), quotaEvery, quotaPatience, true, func(ctx context.Context) (bool, error) {
		if _, err := q.Settle(ctx, quota, nil); err != nil {
			return false, nil //nolint:nilerr // a cell's quota controller wrote at the same time
		}
		for _, member := range members {
			part, err := member.CoreV1().ResourceQuotas(namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			used, hard := part.Status.Used[corev1.ResourceConfigMaps], part.Status.Hard[corev1.ResourceConfigMaps]
			if used.Cmp(hard) != 0 || hard.Cmp(part.Spec.Hard[corev1.ResourceConfigMaps]) != 0 {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		t.Fatalf("wait for each cell's part to be what it uses: %v", err)
	}
}
