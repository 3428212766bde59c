package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/ring"
	"github.com/kubecell/kubectl-cell/pkg/cli/status"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/expiry"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

const (
	// answerWithin is how long one server may take. People wait.
	answerWithin = 5 * time.Second
	// maxSkew between the clocks of two control planes: grace periods and lags are compared to the second.
	maxSkew = 10 * time.Second
)

// examination is one run. Checks are appended in the order in which they are shown.
type examination struct {
	env    *command.Env
	checks []Check
	// held are the certificates that were seen.
	held []held
}

func (e *examination) ok(name, format string, args ...any) {
	e.checks = append(e.checks, Check{Name: name, State: OK, Detail: fmt.Sprintf(format, args...)})
}

func (e *examination) found(state State, name, detail, fix string) {
	e.checks = append(e.checks, Check{Name: name, State: state, Detail: detail, Fix: fix})
}

// Examine looks at everything, and returns the epoch of the ring, too, 0 where no ring was read.
func Examine(ctx context.Context, env *command.Env) ([]Check, int64) {
	e := &examination{env: env}
	e.programs()
	e.stateDir()
	e.daemons(ctx)
	e.sandboxes()
	epoch := e.federation(ctx)
	e.expirations()
	return e.checks, epoch
}

// federation looks at what is behind the kubeconfig, one thing after the other: each needs the one before.
func (e *examination) federation(ctx context.Context) int64 {
	fed, err := e.env.Connect()
	if err != nil {
		e.failed("kubeconfig", err)
		return 0
	}
	e.hold(expiry.OfConfig("", fed.Config, e.env.Clock.Now()), "your kubeconfig", "kubectl config view --minify   # says which user; ask for another certificate where this one is from")
	health, err := e.server(ctx, fed)
	if err != nil {
		return 0
	}
	r, err := ring.Read(ctx, e.env, fed)
	if err != nil {
		e.failed("ring", err)
		return 0
	}
	e.ok("ring", "epoch %d, %s", r.Status.Epoch, r.Status.Phase)
	e.rights(ctx, fed)
	e.cells(ctx, fed, health)
	e.findings(ctx, fed, r)
	return r.Status.Epoch
}

// failed is an error of a command, whose hint is the fix.
func (e *examination) failed(name string, err error) {
	fix := exit.HintOf(err, e.env.Program)
	if fix == "" {
		fix = e.env.Program + " doctor -v=6   # shows the requests"
	}
	e.found(Failed, name, err.Error(), fix)
}

func (e *examination) server(ctx context.Context, fed *command.Federation) (federation.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	health, err := federation.Probe(ctx, fed.Config)
	if err != nil {
		e.found(Failed, "server", fmt.Sprintf("%s does not answer: %v", fed.Config.Host, err),
			e.env.Typed("kubectl cluster-info   # the same kubeconfig and context; choose another one with --context"))
		return health, err
	}
	if off := health.Off(); off > maxSkew {
		e.found(Warning, "clock", fmt.Sprintf("this machine's is %s off the server's: ages, and who is alive, are shown wrong here", off.Round(time.Second)),
			"timedatectl set-ntp true   # on this machine")
	}
	e.ok("server", "%s answers in %s, Kubernetes %s", fed.Config.Host, health.Latency.Round(time.Millisecond), health.Version)
	return health, nil
}

// cells asks all cells at once, past the routers.
func (e *examination) cells(ctx context.Context, fed *command.Federation, here federation.Health) {
	all, err := federation.Cells(ctx, fed.Config)
	if err != nil {
		e.found(Warning, "cells", "their credentials cannot be read: "+err.Error(),
			e.env.Typed("kubectl auth can-i get secrets -n "+v1alpha1.Namespace+"   # the role kubecell-admin allows it"))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	names := slices.Sorted(maps.Keys(all))
	for _, name := range names {
		if config := all[name].Config; config != nil {
			e.hold(expiry.OfConfig(name, config, e.env.Clock.Now()), "cell "+name, e.again(name))
		}
	}
	checks := make([]Check, len(names))
	var answers sync.WaitGroup
	for i, name := range names {
		answers.Go(func() { checks[i] = e.cell(ctx, name, all[name], here) })
	}
	answers.Wait()
	e.checks = append(e.checks, checks...)
}

// cell looks at one cell.
func (e *examination) cell(ctx context.Context, name string, access federation.Access, here federation.Health) Check {
	c := Check{Name: "cell " + name, State: Failed}
	again := e.again(name)
	if access.Err != nil {
		c.Detail, c.Fix = access.Err.Error(), again
		return c
	}
	health, err := federation.Probe(ctx, access.Config)
	if err != nil {
		c.Detail = fmt.Sprintf("%s does not answer: %v", access.Config.Host, err)
		c.Fix = fmt.Sprintf("%s status %s   # then look at its apiserver", e.env.Program, name)
		return c
	}
	if found, err := version.ParseSemantic(health.Version); err != nil || found.LessThan(version.MustParseSemantic(federation.OldestVersion)) {
		c.Detail = fmt.Sprintf("runs Kubernetes %s; it must be %s or newer, to refuse writes to a workload that moves", health.Version, federation.OldestVersion)
		c.Fix = "upgrade its control plane"
		return c
	}
	if skew := health.Skew(here); skew > maxSkew {
		c.Detail = fmt.Sprintf("its clock is %s off that of the router control plane", skew.Round(time.Second))
		c.Fix = "timedatectl set-ntp true   # on the machines of both"
		return c
	}
	if found, err := fence.Check(ctx, access.Config); err != nil {
		c.Detail, c.Fix = fmt.Sprintf("its fence cannot be looked at: %v", err), again
		return c
	} else if found.State != fence.Live && found.State != fence.Unsupported { // a finding of the cell's own says that
		c.Detail = fmt.Sprintf("its fence is %s: writes to a workload that moves may not be refused, and no rebalance begins", found)
		c.Fix = fmt.Sprintf("%s add %s --kubeconfig FILE   # again; it repairs the fence", e.env.Program, name)
		return c
	}
	c.State = OK
	c.Detail = fmt.Sprintf("answers in %s, Kubernetes %s, clock right", health.Latency.Round(time.Millisecond), health.Version)
	return c
}

// again is what renews the credentials of a cell.
func (e *examination) again(cell string) string {
	return fmt.Sprintf("%s add %s --kubeconfig FILE   # again, with credentials that work", e.env.Program, cell)
}

// findings are those of `status`, which knows of rings, routers, fences, runs and the backup daemon.
func (e *examination) findings(ctx context.Context, fed *command.Federation, r *v1alpha1.Ring) {
	data, _, err := status.Look(ctx, e.env, fed, r)
	if err != nil {
		e.failed("federation", err)
		return
	}
	alive, oldest := 0, r.Status.Epoch
	for _, router := range data.Routers {
		if router.Alive {
			alive++
			oldest = min(oldest, router.Epoch)
		}
	}
	if alive == 0 && r.Status.Epoch > 0 {
		e.found(Warning, "routers", "no router runs, or you may not see them: nobody serves all cells as one",
			e.env.Program+" router start --rcp-kubeconfig FILE --client-ca-file FILE")
	} else {
		e.ok("routers", "%d of %d alive, all at epoch %d or newer", alive, len(data.Routers), oldest)
	}
	for _, finding := range data.Findings {
		name := "federation"
		if finding.Cell != "" {
			name = "cell " + finding.Cell
		}
		e.found(Warning, name, finding.Message, finding.Next)
	}
	if len(data.Findings) == 0 {
		e.ok("federation", "%d workloads, nothing needs attention", data.Workloads)
	}
}
