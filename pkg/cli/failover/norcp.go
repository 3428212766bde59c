package failover

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ring"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// askPatience is how long a router may take to say whether a cell answers it, after it took its time for the RCP.
const askPatience = 2 * time.Second

// withoutRCP looks at what can be looked at without the RCP, says what goes on without it, and is the error.
func (o *options) withoutRCP(ctx context.Context, fed *command.Federation, gone *failover.NoRCPError) error {
	cell, out := o.spec.Cell, o.env.ErrOut
	if gone.Router {
		fmt.Fprintf(out, "cell %s: %s\n", cell, o.asRouterSees(ctx, fed))
	} else {
		fmt.Fprintf(out, "cell %s: ask a router whether it answers: %s failover %s --dry-run --context ROUTER\n", cell, o.env.Program, cell)
	}
	fmt.Fprintln(out, "other cells: served as before; routers go by the ring that they have, and change nothing that is Global or Replicated")
	fmt.Fprintln(out, "copies: they stay in their cells, and none is promoted; a failover that has begun goes on when the router control plane is back")
	if saved, err := ring.ReadSaved(o.env); err == nil {
		fmt.Fprintf(out, "which cell has the copy of a workload, by the ring of epoch %d: %s where NAMESPACE/NAME --offline\n",
			saved.Ring.Status.Epoch, o.env.Program)
	}
	return exit.Errorf(exit.Failure, "cell %s cannot be failed over, since that changes the ring: %w; nothing was changed", cell, gone).
		WithHint("bring the router control plane back, see docs/runbooks/rcp.md; then: %s failover %s --dry-run", o.env.Program, cell)
}

// asRouterSees says whether the cell answers a router, and what that means for its workloads.
func (o *options) asRouterSees(ctx context.Context, fed *command.Federation) string {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	err := fed.Kube.CoreV1().RESTClient().Get().AbsPath("/cells/" + o.spec.Cell + "/version").Do(ctx).Error()
	switch {
	case err == nil:
		return "it answers the router, and its workloads are served: there is nothing to fail over"
	case apierrors.IsServiceUnavailable(err):
		return "it does not answer the router either: requests for its workloads get 503 until it is back or failed over"
	case apierrors.IsNotFound(err):
		return "the router knows of no such cell"
	}
	return fmt.Sprintf("the router cannot say whether it answers: %v", err)
}
