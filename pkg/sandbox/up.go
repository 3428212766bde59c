package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/home"
)

const (
	// DefaultCells is the number of cells of a new sandbox where none is given.
	DefaultCells = 3
	// maxCells keeps a slip of the finger from filling the machine's memory.
	maxCells = 64
	// upPatience is how long all parts together may take; a loaded machine needs a minute.
	upPatience = 5 * time.Minute
)

// UpOptions say what a sandbox shall be.
type UpOptions struct {
	// Name is a DNS label; empty means DefaultName.
	Name string
	// Cells is the number of cells, named cell-1 and so on; 0 means as many as there are, or
	// DefaultCells in a new sandbox.
	Cells int
	// Port of the router; 0 means the one that it has had, or a free one.
	Port int
	// KubeconfigFiles are the files of the user's kubeconfig; see [KubeconfigFiles].
	KubeconfigFiles []string
}

// Up brings a sandbox up and returns when a list of deployments through the router works. It makes
// the sandbox where there is none, and starts what does not run, with its data, where there is one.
//
// When it fails, or ctx ends, what it started is stopped; of a sandbox that has never worked nothing
// is left at all.
func (m *Manager) Up(ctx context.Context, o UpOptions) (status Status, err error) {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if err := o.check(); err != nil {
		return Status{}, err
	}
	binary, err := findControlPlane(m.Getenv, m.Executable)
	if err != nil {
		return Status{}, err
	}
	b, err := m.create(o.Name)
	if err == nil && b.Removing {
		m.tell(o.Name, Note, "an earlier down was cut off, finishing it")
		if err := errors.Join(b.remove(ctx), b.close()); err != nil {
			return Status{}, err
		}
		b, err = m.create(o.Name)
	}
	if err != nil {
		return Status{}, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	ctx, cancel := context.WithTimeout(ctx, upPatience)
	defer cancel()
	run := &run{box: b, binary: binary}
	if err := run.up(ctx, o); err != nil {
		return Status{}, run.undo(ctx, o.Name, err)
	}
	return b.status()
}

func (o UpOptions) check() error {
	if err := checkName("sandbox", o.Name); err != nil {
		return err
	}
	if o.Cells < 0 || o.Cells > maxCells {
		return exit.Flagf("cells", o.Cells, "be 1 to %d", maxCells).
			WithHint("kubectl cell sandbox up --cells %d", DefaultCells)
	}
	if o.Port < 0 || o.Port > 65535 {
		return exit.Flagf("port", o.Port, "be 1 to 65535").WithHint("kubectl cell sandbox up")
	}
	return nil
}

// up is the plan of Up, once the sandbox's lock is held.
func (r *run) up(ctx context.Context, o UpOptions) error {
	if err := r.adopt(o); err != nil {
		return err
	}
	if err := r.finishCellRemovals(ctx); err != nil {
		return err
	}
	if err := r.choosePorts(o.Port); err != nil {
		return err
	}
	if err := r.takeNames(o); err != nil {
		return err
	}
	// From here on there is something to clean up, and the record says what.
	if err := r.save(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.dir(logsName), 0o700); err != nil {
		return home.Unusable(r.m.StateDir, err, "")
	}
	if err := r.startPlanes(ctx); err != nil {
		return err
	}
	if err := r.join(ctx); err != nil {
		return err
	}
	if err := r.serve(ctx); err != nil {
		return err
	}
	r.Complete = true
	return r.save()
}

// adopt compares what is wanted with what there is.
func (r *run) adopt(o UpOptions) error {
	if r.Name != "" {
		founded := len(r.Cells)
		if o.Cells != 0 && o.Cells != founded && r.Complete {
			return exit.Refusedf("sandbox %s is there with another number of cells: %d, not %d", r.name, founded, o.Cells).
				WithHint("kubectl cell sandbox cell add --name %s", r.name)
		}
		return nil
	}
	cells := o.Cells
	if cells == 0 {
		cells = DefaultCells
	}
	r.record = record{
		Version: recordVersion, Name: r.name, Created: r.m.Clock.Now().UTC().Truncate(time.Second),
		Ports: map[string]int{},
	}
	for i := range cells {
		r.Cells = append(r.Cells, cellRecord{Name: fmt.Sprintf("cell-%d", i+1)})
	}
	return r.checkSpace(cells + 1)
}

// choosePorts gives every part that does not run a port.
func (r *run) choosePorts(router int) error {
	for _, part := range r.planes() {
		if _, up, err := r.controlPlane(part).Holder(); err != nil || up {
			if err != nil {
				return err
			}
			continue
		}
		moved, err := r.ensurePort(part)
		if err != nil {
			return err
		}
		if moved {
			r.moved = append(r.moved, part)
		}
	}
	_, up, err := r.inspectRouter()
	if err != nil {
		return err
	}
	switch {
	case up && router != 0 && router != r.Ports[routerName]:
		return exit.Refusedf("the router of sandbox %s runs on port %d", r.name, r.Ports[routerName]).
			WithHint("kubectl cell sandbox down --name %s", r.name)
	case up:
		return nil
	case router != 0:
		if !portFree(router) {
			return exit.Errorf(exit.Failure, "port %d on %s is in use by another program", router, Loopback).
				WithHint("kubectl cell sandbox up --name %s   # takes a free port", r.name)
		}
		r.Ports[routerName] = router
		return nil
	}
	_, err = r.ensurePort(routerName)
	return err
}

// takeNames decides where contexts go and refuses to overwrite what is not ours.
func (r *run) takeNames(o UpOptions) error {
	if len(o.KubeconfigFiles) > 0 && len(r.Kubeconfig.Files) > 0 && !slices.Equal(o.KubeconfigFiles, r.Kubeconfig.Files) {
		if err := r.removeContexts(r.Kubeconfig.Contexts); err != nil {
			return err
		}
		r.Kubeconfig = kubeconfigRecord{}
	}
	if len(r.Kubeconfig.Files) == 0 {
		r.Kubeconfig.Files = o.KubeconfigFiles
	}
	for _, part := range append(r.planes(), routerName) {
		if err := r.takeName(part); err != nil {
			return err
		}
	}
	config, err := kubeconfigAccess(r.Kubeconfig.Files).GetStartingConfig()
	if err != nil {
		return unreadable(r.Kubeconfig.Files, err)
	}
	if current := config.CurrentContext; current != "" && !slices.Contains(r.Kubeconfig.Contexts, current) {
		r.Kubeconfig.Previous = append([]string{current}, r.m.previousOf(current)...)
	}
	return r.noteMissingFiles()
}

// takeName claims a part's name in the user's kubeconfig, and refuses to overwrite an entry there that
// is not this sandbox's.
func (r *run) takeName(part string) error {
	name := r.context(part)
	if slices.Contains(r.Kubeconfig.Contexts, name) {
		return nil
	}
	config, err := kubeconfigAccess(r.Kubeconfig.Files).GetStartingConfig()
	if err != nil {
		return unreadable(r.Kubeconfig.Files, err)
	}
	if config.Contexts[name] != nil || config.Clusters[name] != nil || config.AuthInfos[name] != nil {
		return exit.Refusedf("kubeconfig has an entry %q already, which is not this sandbox's", name).
			WithHint("kubectl cell sandbox up --name another   # or: kubectl config delete-context %s", name)
	}
	r.Kubeconfig.Contexts = append(r.Kubeconfig.Contexts, name)
	return nil
}

func (r *run) noteMissingFiles() error {
	target := kubeconfigAccess(r.Kubeconfig.Files).GetDefaultFilename()
	_, err := os.Stat(target)
	if errors.Is(err, os.ErrNotExist) && !slices.Contains(r.Kubeconfig.Created, target) {
		r.Kubeconfig.Created = append(r.Kubeconfig.Created, target)
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return unreadable(r.Kubeconfig.Files, err)
	}
	return nil
}

// fullDisk adds a hint to an error that says so.
func fullDisk(err error) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return exit.Errorf(exit.Failure, "disk is full: %w", err).
		WithHint("free some space, or choose a directory on another disk: export %s=/path", home.Env)
}
