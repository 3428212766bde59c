package feed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// May says whether a write may go by the configuration that it holds: its router is registered, so that a change of the
// Ring waits for it, and the configuration is at least of the epoch in which that began.
func (f *Feed) May(state *State) bool {
	since := f.registered.Load()
	return since != nil && state.Snapshot.Epoch >= *since
}

// Stands notes that the router's Lease stands: from now on a change of the Ring waits for it. Writes may begin once the
// epoch is served that the Ring has now, which is asked for, since what is known of it may be from before.
func (f *Feed) Stands(ctx context.Context) error {
	epoch, err := f.source.Epoch(ctx)
	if err != nil {
		return err
	}
	f.saving.Lock()
	defer f.saving.Unlock()
	f.registered.Store(&epoch)
	if f.saved != nil {
		f.write(*f.saved)
	}
	return nil
}

// Gone notes that there is no Lease: it was given up before the router started, or somebody took the router for dead.
func (f *Feed) Gone() {
	if f.registered.Load() != nil {
		f.config.Logger.Warn("this router's registration is gone: it takes no writes before it has registered again")
	}
	if err := f.Release(); err != nil {
		f.config.Logger.Error("a restart without the router control plane would take writes by an old configuration", "err", err)
	}
}

// Release makes what is saved useless for writes: the Lease that keeps it true is given up, or gone. After an error
// the Lease must stay.
func (f *Feed) Release() error {
	f.saving.Lock()
	defer f.saving.Unlock()
	f.registered.Store(nil)
	f.saved = nil // it is not known before it is written
	saved, err := routing.Load(f.savedPath)
	if errors.Is(err, routing.ErrNothingSaved) {
		return nil
	}
	if err == nil {
		saved.Released = true
		err = routing.Save(f.savedPath, saved)
	}
	if err == nil {
		f.saved = saved
		return nil
	}
	if removed := os.Remove(f.savedPath); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		return fmt.Errorf("release the saved configuration: %w", errors.Join(err, removed))
	}
	return nil
}
