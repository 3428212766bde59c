package rebalance

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/migration"
	"github.com/kubecell/kubectl-cell/pkg/routers"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

const (
	// defaultRetention is that of the API, for a Ring that was written without one.
	defaultRetention = 12 * time.Hour
	// unknownGrace is the shortest grace of a tombstone whose run has no record: it may be one that began
	// a moment ago.
	unknownGrace = time.Hour
)

// Bury deletes the tombstones whose grace has ended, in all cells, and returns how many. While a run has not
// ended, or a router has not acknowledged the ring, it does nothing: a router may still look for what has
// moved in the old cell.
//
// It may be called by several at once. Tombstones of a run that begins meanwhile are left alone.
func Bury(ctx context.Context, rcp *rest.Config, now clock.PassiveClock) (int, error) {
	c, err := client.New(rcp)
	if err != nil {
		return 0, err
	}
	kube, err := kubernetes.NewForConfig(rcp)
	if err != nil {
		return 0, fmt.Errorf("build Kubernetes client: %w", err)
	}
	// The runs are read before the ring: one that is not among them has not ended.
	runs, err := c.Rebalances().List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, fmt.Errorf("list rebalances: %w", err)
	}
	ring, err := readRing(ctx, c)
	if err != nil {
		return 0, err
	}
	if !atRest(ring, runs) {
		return 0, nil
	}
	all, err := routers.List(ctx, kube)
	if err != nil || len(routers.Blocking(all, ring.Status.Epoch, 0)) > 0 {
		return 0, err
	}
	return buryAll(ctx, rcp, ring, Graces(ring, runs), now)
}

func atRest(ring *v1alpha1.Ring, runs *v1alpha1.RebalanceList) bool {
	for _, run := range runs.Items {
		if !run.Status.Phase.Final() {
			return false
		}
	}
	return ring.Status.Phase == v1alpha1.RingStable && len(runs.Items) > 0
}

// Graces says how long the tombstones of each run stay, by its name.
func Graces(ring *v1alpha1.Ring, runs *v1alpha1.RebalanceList) func(string) time.Duration {
	retention := defaultRetention
	if ring.Spec.Retention != nil {
		retention = ring.Spec.Retention.Duration
	}
	known := map[string]time.Duration{}
	for _, run := range runs.Items {
		known[run.Name] = retention
		if run.Spec.Grace != nil {
			known[run.Name] = run.Spec.Grace.Duration
		}
	}
	return func(run string) time.Duration {
		if grace, ended := known[run]; ended {
			return grace
		}
		return max(retention, unknownGrace)
	}
}

// buryAll looks into every cell that there is: one that has left the ring is the first to have tombstones.
func buryAll(ctx context.Context, rcp *rest.Config, ring *v1alpha1.Ring, grace func(string) time.Duration, now clock.PassiveClock) (int, error) {
	access, err := federation.Cells(ctx, rcp)
	if err != nil {
		return 0, err
	}
	snap, err := routing.FromRing(ring)
	if err != nil {
		return 0, err
	}
	var names []string
	for name := range access {
		if !snap.Unavailable[name] {
			names = append(names, name)
		}
	}
	cells, err := (&fleet{rcp: rcp}).connect(ctx, names)
	if err != nil {
		return 0, err
	}
	total := 0
	var problems []error
	for name := range cells {
		n, err := migration.Bury(ctx, cells, name, snap, grace, now)
		total += n
		problems = append(problems, err)
	}
	return total, errors.Join(problems...)
}
