package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// CellReport is what CellAdd or CellRemove did.
type CellReport struct {
	// Cell is its name, which CellAdd may have chosen.
	Cell string
	// Changed is false where everything was as wanted already.
	Changed bool
}

// CellAdd starts one more control plane and adds it to the wanted ring. Nothing moves before a
// rebalance accepts that. An empty name means the next free one. When it fails, the control plane is
// taken away again.
func (m *Manager) CellAdd(ctx context.Context, sandbox, name string) (report CellReport, err error) {
	binary, err := findControlPlane(m.Getenv, m.Executable)
	if err != nil {
		return report, err
	}
	b, err := m.running(sandbox)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if name == "" {
		name = b.nextCell()
	}
	if err := checkCellName(name); err != nil {
		return report, err
	}
	if len(b.Cells) >= maxCells && b.cell(name) == nil {
		return report, exit.Refusedf("sandbox %s has %d cells already", sandbox, maxCells).
			WithHint("kubectl cell sandbox cell remove NAME --name %s", sandbox)
	}
	r := &run{box: b, binary: binary}
	if err := r.finishCellRemovals(ctx); err != nil {
		return report, err
	}
	report.Cell = name
	fresh := b.cell(name) == nil
	report.Changed, err = r.addCell(ctx, name, fresh)
	if err != nil && fresh {
		err = r.undoCell(ctx, name, err)
	}
	return report, err
}

func (r *run) addCell(ctx context.Context, name string, fresh bool) (bool, error) {
	rcp, err := r.controlPlane(rcpName).Config()
	if err != nil {
		return false, err
	}
	if fresh {
		if err := r.checkSpace(1); err != nil {
			return false, err
		}
		if err := r.takeName(name); err != nil {
			return false, err
		}
		r.Cells = append(r.Cells, cellRecord{Name: name})
	}
	if _, up, err := r.controlPlane(name).Holder(); err != nil {
		return false, err
	} else if !up {
		if moved, err := r.ensurePort(name); err != nil {
			return false, err
		} else if moved {
			r.moved = append(r.moved, name)
		}
	}
	if err := r.save(); err != nil {
		return false, err
	}
	if err := r.startPlane(ctx, name); err != nil {
		return false, err
	}
	changed, err := r.joinCell(ctx, rcp, name)
	if err != nil {
		return changed, err
	}
	e, err := r.admin(name)
	if err != nil {
		return changed, err
	}
	return changed, r.writeContexts(map[string]entry{r.context(name): e}, "")
}

// joinCell is true when the wanted ring was changed.
func (r *run) joinCell(ctx context.Context, rcp *rest.Config, name string) (bool, error) {
	changed := false
	err := r.m.step("ring", func() (State, string, error) {
		cell, err := r.founder(name)
		if err != nil {
			return Failed, "", err
		}
		added, err := federation.AddCell(ctx, rcp, cell, federation.Options{})
		if err != nil {
			return Failed, "", err
		}
		if added.Drained {
			if added.Change, err = federation.Undrain(ctx, rcp, name, federation.Options{}); err != nil {
				return Failed, "", err
			}
		}
		changed = added.Change.Changed
		r.cell(name).Joined = true
		state := Done
		if !changed {
			state = Already
		}
		return state, name + " is in the wanted ring", r.save()
	})
	return changed, err
}

// undoCell takes back a cell that could not be added.
func (r *run) undoCell(ctx context.Context, name string, cause error) error {
	interrupted := errors.Is(ctx.Err(), context.Canceled)
	cleanup, cancel := context.WithTimeout(context.Background(), 2*stopGrace)
	defer cancel()
	if r.cell(name) != nil {
		if rcp, err := r.controlPlane(rcpName).Config(); err == nil {
			// What federation has stored, if anything, must not name a control plane that is gone.
			_, _ = federation.Drain(cleanup, rcp, name, federation.Options{})
			_, _ = federation.RemoveCell(cleanup, rcp, name, federation.RemoveOptions{Force: true})
		}
		cause = errors.Join(cause, r.dropCellFiles(cleanup, name))
	}
	if interrupted {
		return exit.Errorf(exit.Detached, "interrupted; %s was not added", name).
			WithHint("kubectl cell sandbox cell add %s --name %s", name, r.name)
	}
	return fullDisk(cause)
}

// running opens a sandbox whose RCP runs.
func (m *Manager) running(name string) (*box, error) {
	b, err := m.openExisting(name, exit.Errorf(exit.Failure, "there is no sandbox %s", name).
		WithHint("kubectl cell sandbox up --name %s", name))
	if err != nil {
		return nil, err
	}
	_, up, err := b.controlPlane(rcpName).Holder()
	if err == nil && (!up || !b.Complete) {
		err = exit.Errorf(exit.Failure, "the router control plane of sandbox %s does not run", name).
			WithHint("kubectl cell sandbox up --name %s", name)
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *box) nextCell() string {
	for i := 1; ; i++ {
		if name := fmt.Sprintf("cell-%d", i); b.cell(name) == nil {
			return name
		}
	}
}

// checkCellName refuses names that are no DNS label or that name other parts of a sandbox.
func checkCellName(name string) error {
	if err := checkName("cell", name); err != nil {
		return err
	}
	if slices.Contains([]string{rcpName, routerName, backupName, logsName, "lock"}, name) {
		return exit.Usagef("a cell cannot be called %s: that is another part of a sandbox", name).
			WithHint("choose a name such as cell-4")
	}
	return nil
}
