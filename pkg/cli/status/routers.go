package status

import (
	"context"
	"fmt"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
)

// Router is a registered router.
type Router struct {
	Name string `json:"name"`
	// Epoch that it serves; 0 where it does not say.
	Epoch int64 `json:"epoch"`
	// Renewed is when it last showed a sign of life; zero where it never did.
	Renewed time.Time `json:"renewed"`
	// Alive says that it renewed its registration within its lifetime.
	Alive bool `json:"alive"`
}

// routers reads the registered routers. Without the right to read Leases there are none to show.
func routers(ctx context.Context, kube kubernetes.Interface, now time.Time) ([]Router, error) {
	list, err := kube.CoordinationV1().Leases(v1alpha1.Namespace).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=router"})
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list routers: %w", err)
	}
	out := []Router{}
	for i := range list.Items {
		out = append(out, newRouter(&list.Items[i], now))
	}
	return out, nil
}

func newRouter(lease *coordinationv1.Lease, now time.Time) Router {
	r := Router{Name: lease.Name, Alive: command.LeaseHeld(lease, now)}
	// A number that is none is shown as unknown, not as an error of the whole status.
	r.Epoch, _ = strconv.ParseInt(lease.Annotations[v1alpha1.AnnotationEpoch], 10, 64)
	if lease.Spec.RenewTime != nil {
		r.Renewed = lease.Spec.RenewTime.Time
	}
	return r
}

// routerFindings are the routers that a rebalance waits for, or would: those that died and did not give their
// registration up, and those that live and do not follow the ring. It is pure.
func routerFindings(program string, routers []Router, ring *v1alpha1.Ring, now time.Time) []Finding {
	var out []Finding
	waits := "a rebalance would wait for it"
	if ring.Status.Phase != v1alpha1.RingStable {
		waits = "the rebalance waits for it"
	}
	for _, r := range routers {
		switch {
		case !r.Alive:
			seen := "never showed a sign of life"
			if !r.Renewed.IsZero() {
				seen = "has shown no sign of life for " + duration.HumanDuration(now.Sub(r.Renewed))
			}
			out = append(out, Finding{
				Message: fmt.Sprintf("router %s %s; %s", r.Name, seen, waits),
				Next:    fmt.Sprintf("%s router forget %s   # once you know that it is dead; or start it again", program, r.Name),
			})
		case r.Epoch < ring.Status.Epoch:
			out = append(out, Finding{
				Message: fmt.Sprintf("router %s lives, but serves epoch %d of %d; %s", r.Name, r.Epoch, ring.Status.Epoch, waits),
				Next:    fmt.Sprintf("look at its log and restart it; once it is dead: %s router forget %s", program, r.Name),
			})
		}
	}
	return out
}
