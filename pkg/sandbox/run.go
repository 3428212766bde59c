package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
)

// run is one operation that starts things, and what it must take back if it fails.
type run struct {
	*box
	binary string
	// moved are the parts that have another port than before.
	moved []string

	mu      sync.Mutex // guards started
	started []string
}

func (r *run) note(part string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = append(r.started, part)
}

// startPlanes starts all control planes at once. While the cells are still starting, the RCP learns
// its kinds: of the few seconds that up takes, waiting for these to be served is the second largest
// part.
func (r *run) startPlanes(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range r.planes() {
		group.Go(func() error {
			if err := r.startPlane(ctx, part); err != nil || part != rcpName {
				return err
			}
			rcp, err := r.controlPlane(rcpName).Config()
			if err != nil {
				return err
			}
			if _, err := federation.Init(ctx, rcp, federation.InitOptions{}); err != nil {
				return fmt.Errorf("initialise the router control plane: %w", err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (r *run) startPlane(ctx context.Context, part string) error {
	plane := r.controlPlane(part)
	plane.Binary = r.binary
	return r.m.step(part, func() (State, string, error) {
		r.note(part)
		if _, err := daemon.Resume(r.lockPath(part)); err != nil {
			return Failed, "", err // one that was paused would never be ready
		}
		result, err := plane.Start(ctx)
		if err != nil {
			return Failed, "", r.explain(part, err)
		}
		if result.AlreadyRunning {
			r.forget(part)
			return Already, result.Address, nil
		}
		return Done, result.Address, nil
	})
}

// forget takes a part out of what this run has to stop: it ran before.
func (r *run) forget(part string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = slices.DeleteFunc(r.started, func(s string) bool { return s == part })
}

// join makes the cells members: the first ones as founders, cells whose adding was cut off as
// members of the wanted ring. Cells that have joined are left as they are, in the ring or not.
func (r *run) join(ctx context.Context) error {
	rcp, err := r.controlPlane(rcpName).Config()
	if err != nil {
		return err
	}
	if err := r.moveCells(ctx, rcp); err != nil {
		return err
	}
	var missing []federation.NewCell
	for _, cell := range r.Cells {
		if cell.Joined || cell.Removing {
			continue
		}
		newCell, err := r.founder(cell.Name)
		if err != nil {
			return err
		}
		missing = append(missing, newCell)
	}
	if len(missing) == 0 {
		return nil
	}
	return r.m.step("federation", func() (State, string, error) {
		detail := fmt.Sprintf("%d cells", len(missing))
		if err := r.joinCells(ctx, rcp, missing); err != nil {
			return Failed, "", err
		}
		for i := range r.Cells {
			r.Cells[i].Joined = true
		}
		return Done, detail, r.save()
	})
}

func (r *run) joinCells(ctx context.Context, rcp *rest.Config, cells []federation.NewCell) error {
	if !r.Complete {
		_, err := federation.Init(ctx, rcp, federation.InitOptions{Founders: cells})
		return err
	}
	for _, cell := range cells {
		if _, err := federation.AddCell(ctx, rcp, cell, federation.Options{}); err != nil {
			return err
		}
	}
	return nil
}

// moveCells tells the federation the new address of cells whose port was taken. Only the credentials
// change: adding the cell again would also bring it back into a ring that it was taken out of.
func (r *run) moveCells(ctx context.Context, rcp *rest.Config) error {
	for _, name := range r.moved {
		cell := r.cell(name)
		if cell == nil || !cell.Joined {
			continue
		}
		kubeconfig, err := r.federationKubeconfig(name)
		if err != nil {
			return err
		}
		if err := replaceCredentials(ctx, rcp, name, kubeconfig); err != nil {
			return fmt.Errorf("tell the federation the new address of %s: %w", name, err)
		}
	}
	for _, cell := range r.Cells {
		if _, err := r.heal(ctx, cell.Name); err != nil {
			return fmt.Errorf("tell the federation the address of %s again: %w", cell.Name, err)
		}
	}
	return nil
}

func replaceCredentials(ctx context.Context, rcp *rest.Config, name string, kubeconfig []byte) error {
	cells, err := client.New(rcp)
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(rcp)
	if err != nil {
		return fmt.Errorf("build client: %w", err)
	}
	cell, err := cells.Cells().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read cell: %w", err)
	}
	secrets := kube.CoreV1().Secrets(v1alpha1.Namespace)
	secret, err := secrets.Get(ctx, cell.Spec.KubeconfigSecretRef.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read credentials: %w", err)
	}
	secret.Data = map[string][]byte{v1alpha1.KubeconfigKey: kubeconfig}
	if _, err := secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager}); err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	return nil
}

// serve starts the daemons, proves that the router serves, and gives the user the contexts.
func (r *run) serve(ctx context.Context) error {
	if len(r.moved) > 0 {
		// Those that run would go on asking at the old addresses.
		for _, part := range []string{routerName, backupName} {
			if _, err := daemon.Stop(ctx, r.lockPath(part), stopGrace); err != nil {
				return fmt.Errorf("stop %s: %w", part, err)
			}
		}
	}
	through, err := r.admin(routerName)
	if err != nil {
		return err
	}
	group, starting := errgroup.WithContext(ctx)
	group.Go(func() error { return r.serveRouter(starting, through) })
	group.Go(func() error { return r.serveBackup(starting) })
	if err := group.Wait(); err != nil {
		return err
	}
	return r.m.step("kubeconfig", func() (State, string, error) {
		entries := map[string]entry{r.context(routerName): through}
		for _, part := range r.planes() {
			e, err := r.admin(part)
			if err != nil {
				return Failed, "", err
			}
			entries[r.context(part)] = e
		}
		return Done, "current context is " + r.name, r.writeContexts(entries, r.name)
	})
}

func (r *run) serveBackup(ctx context.Context) error {
	return r.m.step(backupName, func() (State, string, error) {
		r.note(backupName)
		result, err := r.startBackup(ctx)
		if err != nil {
			return Failed, "", err
		}
		if result.AlreadyRunning {
			r.forget(backupName)
			return Already, "", nil
		}
		return Done, "", nil
	})
}

func (r *run) serveRouter(ctx context.Context, through entry) error {
	return r.m.step(routerName, func() (State, string, error) {
		r.note(routerName)
		result, err := r.startRouter(ctx)
		if err != nil {
			return Failed, "", err
		}
		state := Done
		if result.AlreadyRunning {
			r.forget(routerName)
			state = Already
		}
		return state, through.server, awaitServing(ctx, through)
	})
}

// undo stops what this run has started; of a sandbox that has never worked it removes everything. It
// does so whatever has become of the run's own context.
func (r *run) undo(ctx context.Context, name string, cause error) error {
	interrupted := errors.Is(ctx.Err(), context.Canceled)
	r.mu.Lock()
	started := slices.Clone(r.started)
	r.mu.Unlock()
	if !r.Complete || len(started) > 0 {
		r.m.tell(name, Note, "cleaning up")
	}
	cleanup, cancel := context.WithTimeout(context.Background(), 2*stopGrace)
	defer cancel()
	var err error
	if r.Complete {
		err = r.stop(cleanup, started)
	} else {
		err = r.remove(cleanup)
	}
	if interrupted {
		cause = exit.Errorf(exit.Detached, "interrupted; what was started has been stopped").
			WithHint("kubectl cell sandbox up --name %s", name)
	}
	return errors.Join(fullDisk(cause), err)
}
