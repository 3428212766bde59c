package router

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	serverfilters "k8s.io/apiserver/pkg/server/filters"
	"k8s.io/apiserver/pkg/server/healthz"

	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
	"github.com/kubecell/kubectl-cell/pkg/router/metrics"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

// metricsPath is where the router's own metrics are.
const metricsPath = "/metrics"

// health answers /healthz, /livez and /readyz with the checks below them, and ?verbose, as an apiserver does. A
// router that has a configuration can serve; neither a cell nor the RCP that is down makes it unready.
func health(state func() *feed.State, stopping context.Context) http.Handler { //nolint:revive // the context is not the request's
	configured := healthz.NamedCheck("configuration", func(*http.Request) error {
		if state() == nil {
			return errors.New("no configuration yet")
		}
		return nil
	})
	mux := http.NewServeMux()
	healthz.InstallHandler(mux, healthz.PingHealthz, configured)
	healthz.InstallLivezHandler(mux, healthz.PingHealthz)
	healthz.InstallReadyzHandler(mux, healthz.PingHealthz, configured, healthz.NewShutdownHealthz(stopping.Done()))
	return mux
}

func withHealth(next, health http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, raw := rawCellFrom(r.Context()) // a cell answers for its own health
		if !raw && probes(r.URL.Path) {
			health.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func probes(path string) bool {
	if !strings.HasSuffix(path, "z") && !strings.Contains(path, "z/") {
		return false // most are not
	}
	for _, root := range []string{"/healthz", "/livez", "/readyz"} {
		if rest, ok := strings.CutPrefix(path, root); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// withMetrics serves the router's own metrics to those who may get /metrics at the RCP.
func (h *handler) withMetrics(next http.Handler, authz authorizer.Authorizer) http.Handler {
	own := h.metrics.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != metricsPath {
			next.ServeHTTP(w, r)
			return
		}
		if _, raw := rawCellFrom(r.Context()); raw {
			next.ServeHTTP(w, r)
			return
		}
		if err := h.mayRead(r, authz); err != nil {
			h.fail(w, r, err)
			return
		}
		own.ServeHTTP(w, r)
	})
}

// newMetrics counts what a router with these configurations does.
func newMetrics(state func() *feed.State, book *ledger.Ledger) *metrics.Metrics {
	var resources []schema.GroupResource
	for _, rule := range placement.DefaultRules() {
		if rule.Resource != placement.AnyResource {
			resources = append(resources, schema.GroupResource{Group: rule.Group, Resource: rule.Resource})
		}
	}
	return metrics.New(metrics.Config{
		Planes: func() []metrics.Plane { return planes(state()) },
		Ledger: book.Counts,
		Epoch: func() int64 {
			if s := state(); s != nil {
				return s.Snapshot.Epoch
			}
			return 0
		},
		Resources: resources,
		Now:       time.Now,
	})
}

// planes are what the router knows of its control planes now. A cell that was failed over is none of them: nothing is sent to it
// whether it answers or not, and nobody waits for it.
func planes(state *feed.State) []metrics.Plane {
	if state == nil {
		return nil
	}
	names := append(state.Cells(), route.RCP)
	out := make([]metrics.Plane, 0, len(names))
	for _, name := range names {
		if state.Snapshot.Unavailable[name] {
			continue
		}
		plane, err := state.ControlPlane(name)
		if err != nil {
			out = append(out, metrics.Plane{Name: name})
			continue
		}
		out = append(out, metrics.Plane{Name: name, Up: plane.Down() == nil, Probed: plane.Probed()})
	}
	return out
}

// streaming says which requests may last for ever, by an apiserver's own rule.
func streaming() request.LongRunningRequestCheck {
	return serverfilters.BasicLongRunningRequestCheck(
		sets.NewString("watch", "proxy"), sets.NewString("attach", "exec", "proxy", "log", "portforward"))
}
