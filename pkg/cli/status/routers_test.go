package status

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// TestARouterThatARebalanceWaitsForIsAFinding, with the command that ends the wait.
func TestARouterThatARebalanceWaitsForIsAFinding(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for name, test := range map[string]struct {
		router Router
		phase  v1alpha1.RingPhase
		want   string
	}{
		"alive and up to date": {Router{Alive: true, Epoch: 7, Renewed: now}, v1alpha1.RingPreparing, ""},
		"dead at rest": {
			Router{Epoch: 7, Renewed: now, Silence: 5 * time.Minute}, v1alpha1.RingStable,
			"router east has shown no sign of life for 5m; a rebalance would wait for it",
		},
		"dead in a run": {
			Router{Epoch: 6, Renewed: now, Silence: 5 * time.Minute}, v1alpha1.RingPreparing,
			"router east has shown no sign of life for 5m; the rebalance waits for it",
		},
		"never seen": {Router{}, v1alpha1.RingStable, "router east never showed a sign of life; a rebalance would wait for it"},
		"behind":     {Router{Alive: true, Epoch: 6, Renewed: now}, v1alpha1.RingPreparing, "router east lives, but serves epoch 6 of 7; the rebalance waits for it"},
	} {
		t.Run(name, func(t *testing.T) {
			test.router.Name = "east"
			ring := &v1alpha1.Ring{}
			ring.Status.Epoch, ring.Status.Phase = 7, test.phase
			var got string
			for _, f := range routerFindings("kubectl cell", []Router{test.router}, ring) {
				got += f.Message
				if !strings.Contains(f.Next, "kubectl cell router forget east") {
					t.Errorf("next: %s", f.Next)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
