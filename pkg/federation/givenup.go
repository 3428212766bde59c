package federation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// GiveUp notes that the control plane of a cell, which was failed over, is not counted on any more: its slot is nobody's from
// then on. The caller writes the status.
func GiveUp(status *v1alpha1.RingStatus, cell string) {
	if last := lastSlot(status.Slots, cell); last != nil {
		last.GivenUp = true
	}
}

// GivenUp says whether the last control plane that had the name of a cell was given up.
func GivenUp(status *v1alpha1.RingStatus, cell string) bool {
	last := lastSlot(status.Slots, cell)
	return last != nil && last.GivenUp
}

// mayJoin refuses to have a cell in the wanted ring whose control plane holds what the federation has gone on without.
func mayJoin(ring *v1alpha1.Ring, name string) error {
	switch {
	case slices.Contains(ring.Status.Unavailable, name):
		return exit.Refusedf("cell %s was failed over, and has to be emptied before it joins", name).
			WithHint("kubectl cell failback %s   # once it answers again; one that never will: kubectl cell remove %s --force", name, name)
	case GivenUp(&ring.Status, name):
		return exit.Refusedf("cell %s was failed over and given up, and this is its old control plane", name).
			WithHint("kubectl cell remove %s --force", name)
	}
	return nil
}

// checkPast looks at what a control plane was before. One that was given up may be a cell again, under whatever name, once
// nothing is left in it of that time; then it says so, for it may be frozen.
func (c *connection) checkPast(ctx context.Context, ring *v1alpha1.Ring, i *inspection) (returned bool, err error) {
	last := lastSlot(ring.Status.Slots, i.cell.Name)
	if holds(last, i.controlPlane) {
		return false, nil
	}
	if i.goal == toReturn {
		return false, anotherPlane(i)
	}
	was := slices.IndexFunc(ring.Status.Slots, func(s v1alpha1.RingSlot) bool { return s.GivenUp && s.ControlPlane == i.controlPlane })
	if was < 0 {
		return false, nil
	}
	name := ring.Status.Slots[was].Cell
	remains, err := c.remainsIn(ctx, i.config, ring)
	if err != nil {
		return false, fmt.Errorf("cell %s: %w", i.cell.Name, err)
	}
	if !remains.None() {
		example := ""
		if len(remains.Named) > 0 {
			example = " (" + strings.Join(remains.Named, ", ") + ")"
		}
		return false, exit.Refusedf("this is the control plane of cell %s, which was failed over and given up, and it still holds of that time %d sharded objects%s, %d tombstones and %d envelopes",
			name, remains.Objects, example, remains.Tombstones, remains.Envelopes).
			WithHint("start it with an empty etcd, or delete them there; see docs/failover.md#a-cell-that-will-not-come-back")
	}
	return true, nil
}

// anotherPlane refuses a control plane under the name of another one.
func anotherPlane(i *inspection) error {
	if i.goal == toReturn {
		return exit.Refusedf("cell %s was failed over, and this is another control plane", i.cell.Name).
			WithHint("kubectl cell remove %s --force   # if the old one is lost for good; then add this one again", i.cell.Name)
	}
	return exit.Refusedf("there is a cell %s already, and it is another control plane", i.cell.Name).
		WithHint("kubectl cell add OTHER-NAME --kubeconfig FILE")
}

// thaw takes off what is left of a freeze, and returns once each apiserver lets writes through.
func (i *inspection) thaw(ctx context.Context) error {
	if err := fence.Thaw(ctx, withTimeout(i.config)); err != nil {
		return fmt.Errorf("thaw cell %s: %w", i.cell.Name, err)
	}
	group, asking := errgroup.WithContext(ctx)
	for _, config := range i.endpoints {
		group.Go(func() error { return fence.AwaitThawed(asking, withTimeout(config)) })
	}
	return group.Wait()
}

// storeAway replaces the way to a cell that was failed over, and nothing else: its failback does the rest. It gets no slot, for
// it has one: should the cell be given up meanwhile, none must say that it is to be used.
func (c *connection) storeAway(ctx context.Context, i *inspection, options Options) (AddReport, error) {
	report := AddReport{Name: i.cell.Name, Checks: withoutCheck(i.checks, "CRDs match"), FailedOver: true}
	if options.DryRun {
		report.Created = i.stored == nil
		return report, nil
	}
	cell, err := c.claim(ctx, i, &report)
	if err != nil {
		return report, err
	}
	changed, err := c.storeSecret(ctx, cell, i.cell.Kubeconfig)
	report.Updated = report.Updated || (changed && !report.Created)
	return report, err
}
