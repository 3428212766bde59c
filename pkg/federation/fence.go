package federation

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// installed is a fence that was installed, and may not be in force yet.
type installed struct {
	// configs are the ways to each apiserver of the cell: each learns of the fence by itself.
	configs []*rest.Config
	err     error
}

// installFence installs the fence or repairs it. Its error is awaitFence's to report: the copies are
// made all the same.
func (c *connection) installFence(ctx context.Context, i *inspection, cell *v1alpha1.Cell, report *AddReport) installed {
	out := installed{configs: []*rest.Config{withTimeout(i.config)}}
	for n, endpoint := range cell.Spec.Endpoints {
		config := withTimeout(i.config)
		config.Host = endpoint
		out.configs = append(out.configs[:n], config)
	}
	var changed bool
	changed, out.err = fence.Install(ctx, out.configs[0])
	report.Updated = report.Updated || (changed && !report.Created)
	return out
}

// awaitFence returns when the fence is in force at every apiserver of the cell, and writes on the Cell
// whether it is. A cell that cannot have one is warned of, and taken all the same.
func (c *connection) awaitFence(ctx context.Context, cell *v1alpha1.Cell, fenced installed, report *AddReport) error {
	err, await := fenced.err, fence.Await
	if errors.Is(err, fence.ErrUnsupported) {
		await = fence.AwaitMover
	}
	if err == nil || errors.Is(err, fence.ErrUnsupported) {
		group, asking := errgroup.WithContext(ctx)
		for _, config := range fenced.configs {
			group.Go(func() error { return await(asking, config) })
		}
		if waited := group.Wait(); waited != nil {
			err = waited
		}
	}
	condition := metav1.Condition{
		Type: v1alpha1.ConditionFenced, Status: metav1.ConditionTrue,
		Reason: v1alpha1.ReasonFenceInForce, Message: "a write of an object in migration was tried, and refused",
	}
	switch {
	case err == nil:
		report.Checks = append(report.Checks, Check{Name: "fence installed"})
	case errors.Is(err, fence.ErrUnsupported):
		condition.Status, condition.Reason = metav1.ConditionFalse, v1alpha1.ReasonFenceUnsupported
		condition.Message = err.Error() + ": while objects migrate, writes that bypass the routers are not refused"
		report.Checks = append(report.Checks, Check{Name: "no fence", Detail: fence.ErrUnsupported.Error(), Warning: true})
		err = nil
	default:
		condition.Status, condition.Reason = metav1.ConditionFalse, v1alpha1.ReasonFenceFailed
		condition.Message = err.Error()
		err = exit.Errorf(exit.Partial, "cell %s is stored but its fence is not in force: %w", cell.Name, err).
			WithHint("kubectl cell add %s --kubeconfig FILE   # again; it goes on where it stopped", cell.Name)
	}
	return errors.Join(err, c.setFenced(ctx, cell.Name, condition))
}

// setFenced writes the condition on the Cell, unless it says so already.
func (c *connection) setFenced(ctx context.Context, name string, condition metav1.Condition) error {
	// Also when the caller gave up meanwhile: what is written there is what was found.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		cell, err := c.cell.Cells().Get(ctx, name, metav1.GetOptions{})
		if err != nil || !apimeta.SetStatusCondition(&cell.Status.Conditions, condition) {
			return err
		}
		_, err = c.cell.Cells().UpdateStatus(ctx, cell, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		return err
	})
	return passOn(fmt.Sprintf("write condition %s of cell %s", condition.Type, name), err)
}

// takeOffFence removes the fence of a cell that the federation is about to forget. The Cell says so
// before, in case that it stays after all.
func (c *connection) takeOffFence(ctx context.Context, cell *v1alpha1.Cell) error {
	err := c.setFenced(ctx, cell.Name, metav1.Condition{
		Type: v1alpha1.ConditionFenced, Status: metav1.ConditionFalse,
		Reason: v1alpha1.ReasonFenceRemoved, Message: "the cell is being removed from the federation",
	})
	if err != nil {
		return err
	}
	config, err := c.cellConfig(ctx, cell)
	if err == nil {
		err = fence.Remove(ctx, withTimeout(config))
	}
	if err != nil {
		return fmt.Errorf("take off the fence of cell %s: %w", cell.Name, err)
	}
	return nil
}
