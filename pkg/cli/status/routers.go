package status

import (
	"context"
	"fmt"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// Router is a registered router.
type Router struct {
	Name string `json:"name"`
	// Epoch that it serves; 0 where it does not say.
	Epoch int64 `json:"epoch"`
	// Renewed is when it last showed a sign of life, by its own clock; zero where it never did. Silence is for how long it
	// has not, by the clock of the RCP.
	Renewed time.Time     `json:"renewed"`
	Silence time.Duration `json:"-"`
	// Alive says that it renewed its registration within its lifetime.
	Alive bool `json:"alive"`
}

// routers reads the registered routers. Without the right to read Leases there are none to show.
func routers(ctx context.Context, fed *command.Federation) ([]Router, error) {
	list, err := fed.Kube.CoordinationV1().Leases(v1alpha1.Namespace).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=router"})
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list routers: %w", err)
	}
	out := []Router{}
	for i := range list.Items {
		out = append(out, newRouter(&list.Items[i], fed.Clock.Now()))
	}
	return out, nil
}

func newRouter(registered *coordinationv1.Lease, now lease.Moment) Router {
	renewal := lease.RenewalOf(registered)
	r := Router{Name: registered.Name, Renewed: renewal.Renewed, Silence: renewal.Silence(now), Alive: lease.Held(registered, now)}
	// A number that is none is shown as unknown, not as an error of the whole status.
	r.Epoch, _ = strconv.ParseInt(registered.Annotations[v1alpha1.AnnotationEpoch], 10, 64)
	return r
}

// routerFindings are the routers that a rebalance waits for, or would: those that died and did not give their
// registration up, and those that live and do not follow the ring. It is pure.
func routerFindings(program string, routers []Router, ring *v1alpha1.Ring) []Finding {
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
				seen = "has shown no sign of life for " + printers.Age(r.Silence)
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
