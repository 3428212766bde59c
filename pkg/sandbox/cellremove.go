package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// CellRemove takes a cell that holds nothing out of the federation and ends its control plane. It
// refuses while the cell is in the current or the target ring, or holds workloads.
func (m *Manager) CellRemove(ctx context.Context, sandbox, name string) (report CellReport, err error) {
	if err := checkCellName(name); err != nil {
		return report, err
	}
	b, err := m.running(sandbox)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	report.Cell = name
	cell := b.cell(name)
	if cell == nil {
		return report, nil
	}
	if !cell.Removing {
		if err := b.forgetCell(ctx, name); err != nil {
			return report, err
		}
		cell.Removing = true
		if err := b.save(); err != nil {
			return report, err
		}
	}
	report.Changed = true
	return report, b.dropCellFiles(ctx, name)
}

// forgetCell has the federation forget a cell. One that is in the wanted ring only is taken out of it
// first, and brought back when it may not go after all.
func (b *box) forgetCell(ctx context.Context, name string) error {
	rcp, err := b.controlPlane(rcpName).Config()
	if err != nil {
		return err
	}
	cells, err := client.New(rcp)
	if err != nil {
		return err
	}
	ring, err := cells.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read ring: %w", err)
	}
	weight := federation.Weight(&ring.Spec.RingLayout, name)
	if weight == 0 {
		_, err := cells.Cells().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil // by a removal that was cut off before it could be recorded
		}
	}
	drained := weight > 0 && federation.Weight(ring.Status.Current, name) == 0 && federation.Weight(ring.Status.Target, name) == 0
	if drained {
		if _, err := federation.Drain(ctx, rcp, name, federation.Options{}); err != nil {
			return err
		}
	}
	_, err = federation.RemoveCell(ctx, rcp, name, federation.RemoveOptions{})
	if err != nil && drained {
		_, back := federation.Undrain(ctx, rcp, name, federation.Options{})
		if back == nil && weight != 0 {
			_, back = federation.SetWeight(ctx, rcp, name, weight, federation.Options{})
		}
		return errors.Join(err, back)
	}
	return err
}

// dropCellFiles ends the control plane of a cell and removes its context, its data and, last, what
// the record says of it.
func (b *box) dropCellFiles(ctx context.Context, name string) error {
	if err := b.stop(ctx, []string{name}); err != nil {
		return err
	}
	if err := b.removeContexts([]string{b.context(name)}); err != nil {
		return err
	}
	for _, path := range []string{b.dir(name), b.logPath(name), b.logPath(name) + daemon.PreviousLog} {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove data of %s: %w", name, err)
		}
	}
	b.dropCell(name)
	b.Kubeconfig.Contexts = slices.DeleteFunc(b.Kubeconfig.Contexts, func(c string) bool { return c == b.context(name) })
	return b.save()
}

// finishCellRemovals completes removals that were cut off.
func (r *run) finishCellRemovals(ctx context.Context) error {
	for _, cell := range slices.Clone(r.Cells) {
		if !cell.Removing {
			continue
		}
		if err := r.dropCellFiles(ctx, cell.Name); err != nil {
			return err
		}
	}
	return nil
}
