package rebalance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

const (
	maxWindow = 10_000
	maxRate   = 100_000
)

// CheckSpec finds what the API would refuse, before any request.
func CheckSpec(spec *v1alpha1.RebalanceSpec) error {
	if spec.Window < 1 || spec.Window > maxWindow {
		return exit.Usagef("window is %d; it must be 1 to %d units", spec.Window, maxWindow).WithHint("--window 50 is an ordinary one")
	}
	if spec.Rate < 0 || spec.Rate > maxRate {
		return exit.Usagef("rate is %d; it must be 0 (no limit) to %d units a second", spec.Rate, maxRate)
	}
	if spec.MaxFailures != nil && *spec.MaxFailures < 0 {
		return exit.Usagef("max-failures is %d; it must not be negative, and 0 stops at the first", *spec.MaxFailures)
	}
	if spec.Step < 0 || spec.Step > maxWindow {
		return exit.Usagef("step is %d; it must be 1 to %d windows", spec.Step, maxWindow)
	}
	if limit := spec.Limit; limit != nil {
		if _, err := chooser(limit); err != nil {
			return exit.Usagef("%w", err).WithHint("tier=canary is one")
		}
		if len(limit.Namespaces) == 0 && limit.Selector == "" {
			return exit.Usagef("the limit names no namespaces and no labels; leave it out to move everything").WithHint("kubectl cell rebalance --help")
		}
	}
	if spec.Grace != nil && (spec.Grace.Duration < 0 || spec.Grace.Hours() > 720) {
		return exit.Usagef("grace is %s; it must be 0s to 720h", spec.Grace.Duration)
	}
	return nil
}

// checkLayouts says whether the wanted ring can be accepted.
func checkLayouts(ring *v1alpha1.Ring) error {
	current := ring.Status.Current
	switch {
	case current == nil:
		return exit.Refusedf("the ring has no layout yet: there is nothing to move from").WithHint("kubectl cell init --founder NAME=FILE")
	case len(ring.Spec.Members) == 0:
		return exit.Refusedf("the wanted ring has no cells").WithHint("kubectl cell undrain NAME")
	case !sameResources(current, &ring.Spec.RingLayout):
		// Objects are found by the rules of today, and would be hashed by others tomorrow.
		return exit.Refusedf("the wanted ring has other resource rules than the current one, and objects cannot be moved from one rule to another").
			WithHint("kubectl edit ring.kubecell.io %s   # make spec.resources what status.current.resources is", v1alpha1.RingName)
	}
	if _, err := routing.Wanted(ring); err != nil {
		return exit.Refusedf("the wanted ring makes no sense: %w", err).WithHint("kubectl cell diff")
	}
	return nil
}

// checkCells looks at every cell that a run needs: all of both rings, since what an old cell holds cannot be
// left behind. It returns what is to be said of those that can be used.
func checkCells(ctx context.Context, access map[string]federation.Access, ring *v1alpha1.Ring) (warnings []string, err error) {
	var mu sync.Mutex // guards warnings and problems
	var problems []*exit.Error
	var group errgroup.Group
	for _, name := range cellsOf(ring.Status.Current, &ring.Spec.RingLayout) {
		group.Go(func() error {
			warning, problem := checkCell(ctx, access, ring, name)
			mu.Lock()
			defer mu.Unlock()
			if warning != "" {
				warnings = append(warnings, warning)
			}
			if problem != nil {
				problems = append(problems, problem)
			}
			return nil
		})
	}
	_ = group.Wait() // none fails
	slices.Sort(warnings)
	if len(problems) == 0 {
		return warnings, nil
	}
	slices.SortFunc(problems, func(a, b *exit.Error) int { return strings.Compare(a.Error(), b.Error()) })
	words := make([]string, len(problems))
	for i, p := range problems {
		words[i] = p.Error()
	}
	return warnings, exit.Refusedf("%s", strings.Join(words, "; ")).WithHintOf(problems[0])
}

func checkCell(ctx context.Context, access map[string]federation.Access, ring *v1alpha1.Ring, name string) (warning string, problem *exit.Error) {
	a, exists := access[name]
	switch {
	case !exists:
		return "", exit.Refusedf("there is no Cell %s, and the run needs it", name).WithHint("kubectl cell add %s --kubeconfig FILE", name)
	case a.Cell.Spec.Maintenance:
		return "", exit.Refusedf("cell %s is in maintenance", name).
			WithHint(`kubectl patch cell.kubecell.io %s --type merge -p '{"spec":{"maintenance":false}}'`, name)
	case slices.Contains(ring.Status.Unavailable, name):
		return "", exit.Refusedf("cell %s was failed over", name).WithHint("kubectl cell failback %s", name)
	case a.Err != nil:
		return "", exit.Refusedf("cell %s: %w", name, a.Err).WithHint("kubectl cell add %s --kubeconfig FILE", name)
	}
	if _, err := federation.Probe(ctx, a.Config); err != nil {
		return "", exit.Refusedf("cell %s does not answer: %w", name, err).WithHint("kubectl cell status %s", name)
	}
	config := *a.Config
	config.Timeout = cellTimeout
	return checkFence(ctx, name, &config)
}

// checkFence is of a cell that answers.
func checkFence(ctx context.Context, name string, config *rest.Config) (warning string, problem *exit.Error) {
	report, err := fence.Check(ctx, config)
	switch {
	case err != nil:
		return "", exit.Refusedf("cannot look at the fence of cell %s: %w", name, err).WithHint("kubectl cell status %s", name)
	case report.State == fence.Unsupported:
		return fmt.Sprintf("cell %s has no fence: writes that bypass the routers are not refused while objects migrate", name), nil
	case report.State != fence.Live:
		return "", exit.Refusedf("the fence of cell %s is %s", name, report).
			WithHint("kubectl cell add %s --kubeconfig FILE   # again; it repairs the fence", name)
	}
	return "", nil
}
