package failover

import (
	"context"
	"slices"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

// askDeadEvery is the time between two questions to a router that is to be ignored.
const askDeadEvery = 5 * time.Second

// A router that is to be ignored is not waited for as long as it does not show that it lives: it renews no Lease, and does not
// answer at its admin port, or another one does in its place. One that is cut off from the RCP, and answers there, may serve
// clients by the ring that it has. It would go on writing to a cell that it reaches, and no more is known of that than that it has
// to be ended.

// serves says whether a router does not show the RCP that it lives, and answers all the same.
func (f *Facts) serves(w *Witness) bool { return w.Err == nil && f.silence(w) > silentAfter }

// givenUp says of routers whether they are not waited for. It is for one goroutine.
func (r *run) givenUp(ctx context.Context) func(routers.Router) bool {
	type answer struct {
		at   time.Time
		dead bool
	}
	asked := map[string]answer{}
	return func(of routers.Router) bool {
		if !slices.Contains(r.spec.IgnoreRouters, of.Name) || of.Silence(r.c.clock.Now()) <= silentAfter {
			return false
		}
		said, known := asked[of.Name]
		if !known || time.Since(said.at) > askDeadEvery {
			said = answer{time.Now(), !answersAt(ctx, of)}
			asked[of.Name] = said
		}
		return said.dead
	}
}

// answersAt says whether a router answers at its admin port itself.
func answersAt(ctx context.Context, of routers.Router) bool {
	w, views := Witness{Router: of}, router.Views{}
	return of.AdminURL != "" && get(ctx, of.AdminURL+"/cells", &views) == nil && !w.another(views.Router)
}
