package federation

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// AnnotationControlPlane is, on a Cell, the UID of the namespace kube-system of its control plane: what
// tells that two names, or two addresses, are one control plane.
const AnnotationControlPlane = v1alpha1.GroupName + "/control-plane-uid"

// AnnotationJoining is on a Cell from when it is stored until it is in the wanted ring: it tells one whose addition was cut off
// from one that was drained.
const AnnotationJoining = v1alpha1.GroupName + "/joining"

// AddReport is what [AddCell] found and did.
type AddReport struct {
	// Name of the cell.
	Name string
	// Checks are the checks in the order in which they were made; all passed.
	Checks []Check
	// Created is true when there was no Cell of that name before.
	Created bool
	// Updated is true when there was one, and its labels, endpoints, credentials or fence were changed.
	Updated bool
	// Drained is true when it is not in the wanted ring, and stays out of it.
	Drained bool
	// FailedOver is true when it was failed over: nothing but its labels, endpoints and credentials was looked after.
	FailedOver bool
	// Change of the wanted ring; zero for a founder, whose ring is written for all at once.
	Change RingChange
}

// Already says that nothing was left to do.
func (r AddReport) Already() bool { return !r.Created && !r.Updated && !r.Change.Changed }

// AddCell checks a control plane, stores it as a cell, copies the Replicated objects to it, sets up its
// fence, and makes it a member of the wanted ring. Nothing moves before a rebalance accepts the ring.
//
// Adding the same cell again completes what was cut off, and repairs the fence. A different kubeconfig for the same control
// plane replaces the stored one, which is how credentials are renewed; for another control plane it
// is refused, since that would send the cell's keys to where their objects are not. A weight other
// than the wanted one is refused, too: that is SetWeight's. A cell that was drained stays drained, unless it is given a
// weight, and one that was failed over waits for its failback.
func AddCell(ctx context.Context, rcp *rest.Config, cell NewCell, options Options) (AddReport, error) {
	if err := cell.check(); err != nil {
		return AddReport{}, err
	}
	c, err := connect(rcp)
	if err != nil {
		return AddReport{}, err
	}
	goal, err := c.goalOf(ctx, cell)
	if err != nil {
		return AddReport{}, err
	}
	// First of all, whether the ring would take it: this refuses before anything is written.
	change, err := c.changeRing(ctx, Options{DryRun: true}, goal.edit(cell))
	if err != nil {
		return AddReport{}, err
	}
	inspected, err := c.checkCell(ctx, cell, goal)
	if err != nil {
		return AddReport{}, err
	}
	returned, err := c.checkPast(ctx, change.Before, inspected)
	if err != nil {
		return AddReport{}, err
	}
	if returned && !options.DryRun {
		if err := inspected.thaw(ctx); err != nil {
			return AddReport{}, err
		}
	}
	var report AddReport
	if goal == toReturn {
		report, err = c.storeAway(ctx, inspected, options)
	} else {
		report, err = c.storeCell(ctx, inspected, change.Before, options)
	}
	if err != nil || options.DryRun || goal != toJoin {
		report.Change, report.Drained = change, goal == toRenew && memberIndex(change.After.Spec.Members, cell.Name) < 0
		return report, err
	}
	return c.takeIn(ctx, inspected, report, options)
}

// takeIn makes a cell that is stored a member of the wanted ring.
func (c *connection) takeIn(ctx context.Context, i *inspection, report AddReport, options Options) (AddReport, error) {
	name := i.cell.Name
	var err error
	report.Change, err = c.changeRing(ctx, options, func(ring *v1alpha1.Ring) (bool, error) {
		if err := mayJoin(ring, name); err != nil {
			return false, err
		}
		return i.goal.edit(i.cell)(ring)
	})
	if err == nil {
		return report, c.joined(ctx, name)
	}
	var refused *exit.Error
	if errors.As(err, &refused) && report.Created {
		// The ring changed since it was asked and will not take the cell: leave nothing behind.
		// Any other error leaves the Cell to the next attempt.
		withdrawn, left := c.withdraw(ctx, name)
		if withdrawn {
			left = fence.Remove(context.WithoutCancel(ctx), withTimeout(i.config))
		}
		err = errors.Join(err, left)
	}
	return report, err
}

// storeCell writes Cell and Secret, copies the Replicated objects and sets up the fence. The Cell comes first: its name
// and its control plane are claimed by it, and of two that claim the same at once none or one
// stays. The ring may be nil: then nothing is replicated yet, in a dry run.
func (c *connection) storeCell(ctx context.Context, i *inspection, ring *v1alpha1.Ring, options Options) (AddReport, error) {
	report := AddReport{Name: i.cell.Name, Checks: i.checks}
	if options.DryRun {
		report.Created = i.stored == nil
		return report, nil
	}
	cell, err := c.storeObjects(ctx, i, &report)
	if err != nil {
		return report, err
	}
	// It takes about a second to come in force, in which the copies are made.
	fenced := c.installFence(ctx, i, cell, &report)
	snap, err := routing.FromRing(ring)
	if err != nil {
		return report, err
	}
	copied, err := replication.Sync(ctx, c.config, i.config, i.cell.Name, snap)
	replicated := Check{Name: "replicated", Detail: fmt.Sprintf("%d objects", copied.Objects)}
	switch foreign := replication.OnlyForeign(err); {
	case foreign && (i.goal == toRenew || checkOutside(ring, i.cell.Name) != nil): // it is to stay of use, or out
		replicated.Detail, replicated.Warning = err.Error(), true
	case foreign:
		return report, exit.Errorf(exit.Partial, "cell %s is stored but not in the ring: it was a cell before, and what it has is not all of this federation: %w", i.cell.Name, err).
			WithHint("delete in the cell what is named, if nothing of it is needed, or have it adopted by kubecell.io/adopts-copies-of; then run the command again")
	case err != nil:
		return report, exit.Errorf(exit.Partial, "cell %s is stored but not in the ring: some objects could not be copied to it: %w", i.cell.Name, err).
			WithHint("kubectl cell add %s --kubeconfig FILE   # again; it goes on where it stopped", i.cell.Name)
	}
	i.checks = nil
	if err := c.checkDefinitions(ctx, i); err != nil {
		return report, err
	}
	report.Checks = append(withoutCheck(report.Checks, "CRDs match"), i.checks...)
	report.Checks = append(report.Checks, replicated)
	return report, c.awaitFence(ctx, cell, fenced, &report)
}

func withoutCheck(checks []Check, name string) []Check {
	var out []Check
	for _, check := range checks {
		if check.Name != name {
			out = append(out, check)
		}
	}
	return out
}

func (c *connection) storeObjects(ctx context.Context, i *inspection, report *AddReport) (*v1alpha1.Cell, error) {
	cell, err := c.claim(ctx, i, report)
	if err != nil {
		return nil, err
	}
	if err := c.ensureSlot(ctx, i.cell.Name, i.controlPlane); err != nil {
		return nil, err
	}
	changed, err := c.storeSecret(ctx, cell, i.cell.Kubeconfig)
	if err != nil {
		return nil, err
	}
	report.Updated = report.Updated || (changed && !report.Created)
	if cell.Status.Version == i.version {
		return cell, nil
	}
	next := cell.DeepCopy()
	next.Status.Version = i.version
	// The version is for people; the daemons that watch the cells write it again.
	_, err = c.cell.Cells().UpdateStatus(ctx, next, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
	if apierrors.IsConflict(err) {
		return cell, nil
	}
	return cell, passOn("write status of cell "+cell.Name, err)
}

// claim creates or updates the Cell.
func (c *connection) claim(ctx context.Context, i *inspection, report *AddReport) (*v1alpha1.Cell, error) {
	create := metav1.CreateOptions{FieldManager: v1alpha1.FieldManager}
	cell, err := c.cell.Cells().Create(ctx, i.goal.mark(i.cell.object(i.controlPlane)), create)
	if err == nil {
		report.Created = true
		return cell, c.soleOwner(ctx, i)
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, passOn("create cell "+i.cell.Name, err)
	}
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		cell, err = c.cell.Cells().Get(ctx, i.cell.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		// It may have been made a moment ago, after the checks, by somebody else.
		if id := cell.Annotations[AnnotationControlPlane]; id != "" && id != i.controlPlane {
			return exit.Refusedf("there is a cell %s already, and it is another control plane", cell.Name).
				WithHint("kubectl cell add OTHER-NAME --kubeconfig FILE")
		}
		ring, err := c.ring(ctx)
		if err != nil {
			return err
		}
		unmarked := i.goal == toJoin && cell.Annotations[AnnotationJoining] == "" && !slotted(ring, cell)
		if unmarked {
			i.goal.mark(cell)
		}
		if !i.cell.fill(cell, i.controlPlane) && !unmarked {
			return nil
		}
		report.Updated = true
		cell, err = c.cell.Cells().Update(ctx, cell, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		return err
	})
	return cell, passOn("update cell "+i.cell.Name, err)
}

// soleOwner looks again, after the Cell is there, whether another one claims the same control plane.
// Whoever sees another gives up, so that two at once may both fail, but never both stay.
func (c *connection) soleOwner(ctx context.Context, i *inspection) error {
	others, err := c.cells(ctx)
	if err != nil {
		return err
	}
	for name, other := range others {
		if name != i.cell.Name && other.Annotations[AnnotationControlPlane] == i.controlPlane {
			refused := exit.Refusedf("cell %s and cell %s would be the same control plane", i.cell.Name, name).
				WithHint("kubectl cell status")
			_, err := c.withdraw(ctx, i.cell.Name)
			return errors.Join(refused, err)
		}
	}
	return nil
}

// withdraw removes a Cell that this call created, and its Secret. It is false where that was not to be
// done.
func (c *connection) withdraw(ctx context.Context, name string) (done bool, err error) {
	ctx = context.WithoutCancel(ctx)
	ring, err := c.ring(ctx)
	if err != nil {
		return false, fmt.Errorf("take back cell %s: %w", name, err)
	}
	if checkOutside(ring, name) != nil {
		// Another call has made the same Cell a member meanwhile: it is that one's now.
		return false, nil
	}
	err = c.cell.Cells().Delete(ctx, name, metav1.DeleteOptions{})
	if err == nil || apierrors.IsNotFound(err) {
		err = c.kube.CoreV1().Secrets(v1alpha1.Namespace).Delete(ctx, secretName(name), metav1.DeleteOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("take back cell %s: %w", name, err)
	}
	return true, nil
}

// storeSecret writes the kubeconfig to where the Cell says. The Secret goes when the Cell goes.
func (c *connection) storeSecret(ctx context.Context, cell *v1alpha1.Cell, kubeconfig []byte) (changed bool, err error) {
	secrets := c.kube.CoreV1().Secrets(v1alpha1.Namespace)
	name := cell.Spec.KubeconfigSecretRef.Name
	owner := *metav1.NewControllerRef(cell, v1alpha1.GroupVersion().WithKind("Cell"))
	// Somebody else may create or change it in between: then it is looked at again.
	again := func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }
	err = retry.OnError(retry.DefaultBackoff, again, func() error {
		secret, err := secrets.Get(ctx, name, metav1.GetOptions{})
		missing := apierrors.IsNotFound(err)
		if missing {
			secret = &corev1.Secret{ObjectMeta: meta(v1alpha1.Namespace, name), Type: corev1.SecretTypeOpaque}
		} else if err != nil {
			return err
		}
		// One that an earlier Cell of this name left is about to be collected, unless it is adopted.
		owned := metav1.IsControlledBy(secret, cell)
		if changed = !bytes.Equal(secret.Data[v1alpha1.KubeconfigKey], kubeconfig); owned && !changed {
			return nil
		}
		secret.OwnerReferences = []metav1.OwnerReference{owner}
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		secret.Data[v1alpha1.KubeconfigKey] = kubeconfig
		if missing {
			_, err = secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
			return err
		}
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		return err
	})
	return changed, passOn("store the kubeconfig of cell "+cell.Name, err)
}
