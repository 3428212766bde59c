package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/kubecell/kubectl-cell/pkg/daemon"
)

// Down ends a sandbox: its processes, its contexts and its data. The result is false where there is
// none. A down that was cut off is completed by the next.
func (m *Manager) Down(ctx context.Context, name string) (existed bool, err error) {
	b, err := m.open(name)
	if b == nil || err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	existed = b.Name != ""
	return existed, b.remove(ctx)
}

// Names are the sandboxes that there are, sorted.
func (m *Manager) Names() ([]string, error) {
	dirs, err := filepath.Glob(filepath.Join(m.root(), "*", recordFile))
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	names := make([]string, 0, len(dirs))
	for _, dir := range dirs {
		names = append(names, filepath.Base(filepath.Dir(dir)))
	}
	return names, nil
}

// remove takes everything away, the record last, so that nothing is forgotten before it is gone.
func (b *box) remove(ctx context.Context) error {
	if _, err := os.Stat(b.dir(recordFile)); errors.Is(err, fs.ErrNotExist) {
		return b.removeDir() // nothing was begun before the record was saved
	}
	if !b.Removing {
		b.Removing = true
		if err := b.save(); err != nil && !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	if err := b.stop(ctx, append(b.planes(), routerName, backupName)); err != nil {
		return err
	}
	if err := b.removeContexts(b.Kubeconfig.Contexts); err != nil {
		return err
	}
	return b.removeDir()
}

// stop ends the named parts at the same time and returns when they are gone.
func (b *box) stop(ctx context.Context, parts []string) error {
	var group errgroup.Group
	for _, part := range parts {
		group.Go(func() error {
			lock := b.lockPath(part)
			if _, up, err := daemon.Inspect(lock); err == nil && !up {
				return nil
			}
			return b.m.step("stop "+part, func() (State, string, error) {
				stopped, err := daemon.Stop(ctx, lock, stopGrace)
				if !stopped {
					return Already, "", err
				}
				return Done, "", err
			})
		})
	}
	return group.Wait()
}
