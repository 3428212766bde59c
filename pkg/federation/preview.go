package federation

import (
	"context"
	"errors"
	"slices"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/plan"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// Counted is a preview of real workloads.
type Counted struct {
	plan.Preview
	// Missing are the cells that could not be counted; the numbers are without them.
	Missing []*CellError
}

// Preview counts what a rebalance to the wanted ring would do to the workloads that there are. The
// Ring may be one that was not written yet. Placement is by its status; it needs a current layout. of chooses the workloads.
func Preview(ctx context.Context, rcp *rest.Config, ring *v1alpha1.Ring, of CensusOptions, options plan.DiffOptions) (Counted, error) {
	var counted Counted
	wanted, err := routing.Wanted(ring)
	if err != nil {
		return counted, err
	}
	units, err := NewCensus(ctx, rcp, ring)
	if err != nil {
		return counted, err
	}
	var failed error
	workloads := func(yield func(plan.Workload) bool) {
		for unit, err := range units.Units(ctx, of) {
			var missing *CellError
			switch {
			case errors.As(err, &missing):
				counted.Missing = append(counted.Missing, missing)
				continue
			case err != nil:
				failed = err
				return
			}
			if !yield(plan.Workload{Namespace: unit.Namespace, Name: unit.Name, Key: unit.Rule}) {
				return
			}
		}
	}
	counted.Preview = plan.Diff(wanted.Table, workloads, options)
	slices.SortFunc(counted.Missing, func(a, b *CellError) int { return strings.Compare(a.Cell, b.Cell) })
	return counted, failed
}
