package status

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kubecell/kubectl-cell/pkg/lease"
)

func TestABackupDaemonThatDoesNotRunIsFound(t *testing.T) {
	const ending = "; copies in the cells are not repaired, and deleted namespaces do not go"
	now := time.Unix(1_000_000, 0)
	last := func(holder string, age time.Duration, seconds int32) *coordinationv1.Lease {
		return &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: ptr.To(seconds), RenewTime: ptr.To(metav1.NewMicroTime(now.Add(-age))),
		}}
	}
	tests := map[string]struct {
		lease *coordinationv1.Lease
		want  string
	}{
		"renewed":                  {last("one", 2*time.Second, 15), ""},
		"renewed just in time":     {last("one", 15*time.Second, 15), ""},
		"renewed by a clock ahead": {last("one", -3*time.Second, 15), ""},
		"run out":                  {last("one", 16*time.Second, 15), "no backup daemon runs: the last sign of one was 16s ago" + ending},
		"given up":                 {last("", 0, 1), "no backup daemon runs: the last sign of one was 0s ago" + ending},
		"never taken":              {&coordinationv1.Lease{}, "no backup daemon runs" + ending},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var want []Finding
			if test.want != "" {
				want = []Finding{{Message: test.want, Next: "kubectl cell backup start --rcp-kubeconfig FILE"}}
			}
			if diff := cmp.Diff(want, findBackup("kubectl cell", test.lease, lease.Moment{Local: now})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
