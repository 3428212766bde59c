package failover

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

const (
	// askDeadEvery is the time between two questions to a router that is to be ignored.
	askDeadEvery = 5 * time.Second
	// askDeadAtOnce is how many of them are asked at once.
	askDeadAtOnce = 64
)

// A router that is to be ignored is not waited for as long as it does not show that it lives: it renews no Lease, and does not
// answer at its admin port, or another one does in its place. One that is cut off from the RCP, and answers there, may serve
// clients by the ring that it has. It would go on writing to a cell that it reaches, and no more is known of that than that it has
// to be ended.

// serves says whether a router does not show the RCP that it lives, and answers all the same.
func (f *Facts) serves(w *Witness) bool { return w.Err == nil && f.silence(w) > silentAfter }

// asked is what came of a question to such a router, and when.
type asked struct {
	at   time.Time
	dead bool
}

// awaited leaves those out of routers that are not waited for. It is for one goroutine.
func (r *run) awaited(ctx context.Context) func([]routers.Router) []routers.Router {
	known := map[string]asked{}
	return func(all []routers.Router) []routers.Router {
		now := r.c.clock.Now()
		awaited := func(of routers.Router) bool {
			return !slices.Contains(r.spec.IgnoreRouters, of.Name) || of.Silence(now) <= silentAfter
		}
		askDead(ctx, slices.DeleteFunc(slices.Clone(all), awaited), known)
		return slices.DeleteFunc(all, func(of routers.Router) bool { return !awaited(of) && known[of.Name].dead })
	}
}

// askDead finds out which of these routers are dead, where that is not known or has been for long. They are asked at once: each
// may take the whole of askTimeout, and until then nobody is served what the cell had.
func askDead(ctx context.Context, silent []routers.Router, known map[string]asked) {
	due := slices.DeleteFunc(silent, func(of routers.Router) bool {
		said, there := known[of.Name]
		return there && time.Since(said.at) <= askDeadEvery
	})
	dead := make([]bool, len(due))
	var asking errgroup.Group
	asking.SetLimit(askDeadAtOnce)
	for i, of := range due {
		asking.Go(func() error {
			dead[i] = !Answers(ctx, of)
			return nil
		})
	}
	_ = asking.Wait() // none fails
	for i, of := range due {
		known[of.Name] = asked{time.Now(), dead[i]}
	}
}

// Answers says whether a router answers at its admin port, and no other one there.
func Answers(ctx context.Context, of routers.Router) bool {
	w, views := Witness{Router: of}, router.Views{}
	return of.AdminURL != "" && get(ctx, of.AdminURL+"/cells", &views) == nil && !w.another(views.Router)
}
