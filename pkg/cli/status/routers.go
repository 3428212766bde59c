package status

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/routers"
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

// listRouters reads the registered routers. hidden says why there are none to show: the right to read Leases is missing.
func listRouters(ctx context.Context, fed *command.Federation) (all []Router, hidden string, err error) {
	registered, err := routers.List(ctx, fed.Kube)
	if apierrors.IsForbidden(err) {
		return nil, err.Error(), nil
	}
	if err != nil {
		return nil, "", err
	}
	out, now := make([]Router, len(registered)), fed.Clock.Now()
	for i, r := range registered {
		out[i] = Router{Name: r.Name, Epoch: r.Epoch, Renewed: r.Renewed, Silence: r.Silence(now), Alive: r.Alive(now)}
	}
	return out, "", nil
}

// routerFindings are the routers that a rebalance waits for, or would: those that died and did not give their
// registration up, and those that live and do not follow the ring. It is pure.
func routerFindings(program string, all []Router, ring *v1alpha1.Ring) []Finding {
	var out []Finding
	waits := "a rebalance would wait for it"
	if ring.Status.Phase != v1alpha1.RingStable {
		waits = "the rebalance waits for it"
	}
	for _, r := range all {
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
