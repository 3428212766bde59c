// Package feed keeps the router's configuration hot: it watches Ring, Cell and the cells' kubeconfig
// Secrets in the RCP and publishes an immutable [State] at each change.
//
// Triggers: any change of the Ring, a Cell, or a Secret in kubecell-system.
// Reads: those three kinds, from the RCP.
// Writes: the last good configuration, to a file.
// Why it may run twice: every replica of the router has its own.
// After a crash, or while the RCP is down: [Feed.Start] begins with the file.
//
// What is saved is good for writes only as long as the router's Lease stands, since that is what keeps the Ring from
// being changed without it: see [Feed.May].
//
// A configuration that makes no sense (a layout that is refused, a cell without credentials) never
// replaces a good one: the last good State stays, and the reason is logged.
package feed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/configuration"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// saveAgain is how long to wait before it is tried again to save what could not be saved.
const saveAgain = time.Second

// fileName of the last good configuration below the router's state directory.
const fileName = "routing.json"

// Config is what a Feed needs.
type Config struct {
	// RCP is the client configuration for the router control plane.
	RCP *rest.Config
	// StateDir holds the last good configuration.
	StateDir string
	// InitialTimeout is how long [Feed.Start] waits for the RCP before it begins with the file.
	InitialTimeout time.Duration
	// Respond answers requests that a control plane does not.
	Respond upstream.ErrorResponder
	// Settled is told each time that all writes in flight were begun in that epoch and window, or in newer ones.
	Settled func(Epoch)
	Logger  *slog.Logger
	Now     func() time.Time
}

// Feed publishes the newest State. The zero value is not usable; see [New].
type Feed struct {
	config    Config
	source    *configuration.Follower
	rcp       *upstream.ControlPlane
	state     atomic.Pointer[State]
	stopped   sync.WaitGroup
	savedPath string
	// registered is the epoch from which on a State may be written by; nil while the router is not registered.
	registered atomic.Pointer[int64]

	// saving guards the file and what follows.
	saving sync.Mutex
	// saved is what the file says, as far as it was written here.
	saved *routing.Saved
	// unsaved is what the file has to say and does not, while it may be of another epoch; nil otherwise.
	unsaved *routing.Saved
}

// New returns a Feed that does nothing yet.
func New(config Config) (*Feed, error) {
	source, err := configuration.New(config.RCP)
	if err != nil {
		return nil, err
	}
	rcp, err := newRCP(config)
	if err != nil {
		return nil, err
	}
	return &Feed{config: config, source: source, rcp: rcp, savedPath: filepath.Join(config.StateDir, fileName)}, nil
}

// State returns the newest configuration. It is nil only before Start has returned.
func (f *Feed) State() *State { return f.state.Load() }

// Start begins to watch and returns when there is a first State: from the RCP, or from the file where
// the RCP does not answer in time. It fails where neither gives one. The watch goes on until ctx
// ends; [Feed.Wait] returns when it has.
func (f *Feed) Start(ctx context.Context) error {
	f.source.Start(ctx)
	err := f.first(ctx)
	if err != nil {
		return err
	}
	f.stopped.Go(func() { f.follow(ctx) })
	return nil
}

// Wait returns when everything that New and Start began has ended.
func (f *Feed) Wait() {
	f.stopped.Wait()
	f.source.Wait()
	if state := f.state.Load(); state != nil {
		state.closeUnused(nil)
	}
	f.rcp.Close()
}

func (f *Feed) first(ctx context.Context) error {
	deadline, cancel := context.WithTimeout(ctx, f.config.InitialTimeout)
	defer cancel()
	if cache.WaitForCacheSync(deadline.Done(), f.source.Synced) {
		err := f.refresh(ctx)
		if err == nil {
			return nil
		}
		return f.fromFile(ctx, fmt.Errorf("use the configuration in the RCP: %w", err))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return f.fromFile(ctx, fmt.Errorf("the router control plane %s did not answer in %s", f.config.RCP.Host, f.config.InitialTimeout))
}

// fromFile starts from the last good configuration; why is what made that necessary.
func (f *Feed) fromFile(ctx context.Context, why error) error {
	saved, err := routing.Load(f.savedPath)
	if err != nil {
		return errors.Join(why, err)
	}
	state, err := newState(&saved.Ring, saved.Cells, f.rcp, nil, f.config.Respond)
	if err != nil {
		return errors.Join(why, fmt.Errorf("use saved configuration: %w", err))
	}
	f.config.Logger.Warn("starting from the saved configuration", "reason", why, "savedAt", saved.SavedAt, "epoch", state.Snapshot.Epoch)
	if saved.Released {
		f.config.Logger.Warn("its registration was given up since: writes are refused before the router has registered again")
	} else {
		// The Lease of whoever saved it stands: nobody has gone on without this router.
		f.registered.CompareAndSwap(nil, new(int64))
	}
	f.settle(ctx, state, f.publish(state))
	return nil
}

// publish makes state the newest one and returns what was that before, nil for none.
func (f *Feed) publish(state *State) (previous *State) {
	previous = f.state.Swap(state)
	if previous != nil {
		previous.closeUnused(state)
		close(previous.replaced)
	}
	return previous
}

// settle tells when no write of an older State than state is left, and a restart does not go back behind its epoch.
func (f *Feed) settle(ctx context.Context, state, previous *State) {
	if previous == nil && f.kept() {
		f.config.Settled(state.epoch())
		close(state.settled)
		return
	}
	f.stopped.Go(func() {
		if (previous == nil || state.settle(ctx, previous)) && f.keep(ctx) {
			// Told before the next one may, so that what is told grows.
			f.config.Settled(state.epoch())
			close(state.settled)
		}
	})
}

// follow refreshes once the RCP has answered, which after a start from the file may be much later, and
// then at each change.
func (f *Feed) follow(ctx context.Context) {
	if !cache.WaitForCacheSync(ctx.Done(), f.source.Synced) {
		return
	}
	for {
		if err := f.refresh(ctx); err != nil {
			f.config.Logger.Error("the configuration in the RCP is not usable, keeping the last good one", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-f.source.Changed():
		}
	}
}

// refresh builds a State from what the RCP says now, publishes and saves it.
func (f *Feed) refresh(ctx context.Context) error {
	ring, err := f.source.Ring()
	if err != nil {
		return err
	}
	state, err := newState(ring, f.source.Cells(), f.rcp, f.state.Load(), f.config.Respond)
	if err != nil {
		return err
	}
	previous := f.publish(state)
	if previous == nil || previous.Snapshot.Epoch != state.Snapshot.Epoch {
		f.config.Logger.Info("using ring", "epoch", state.Snapshot.Epoch, "phase", state.Snapshot.Phase, "cells", state.Snapshot.Table.Cells())
	}
	for _, why := range state.Broken() {
		f.config.Logger.Error("a cell has no usable credentials, keeping its last good ones where there were any", "err", why)
	}
	f.save(ring, state)
	// Only now: an epoch that was acknowledged must not be forgotten by a restart.
	f.settle(ctx, state, previous)
	return nil
}

// save keeps the configuration on disk, unless only the window is new, which comes several times a second while
// workloads move and says nothing of where they are.
func (f *Feed) save(ring *v1alpha1.Ring, state *State) {
	saved := routing.Saved{Server: f.config.RCP.Host, Ring: *ring, Cells: state.Saved()}
	saved.Ring.Status.Window = 0
	// Versions of the Ring that differ in nothing else.
	saved.Ring.ResourceVersion, saved.Ring.ManagedFields = "", nil
	f.saving.Lock()
	defer f.saving.Unlock()
	f.store(saved)
}

// store writes what is to be saved, and takes away what is there of another epoch where that cannot be. Whoever calls it
// holds saving.
func (f *Feed) store(saved routing.Saved) {
	f.unsaved = nil
	if f.write(saved) {
		return
	}
	old, err := routing.Load(f.savedPath)
	if errors.Is(err, routing.ErrNothingSaved) || err == nil && old.Ring.Status.Epoch == saved.Ring.Status.Epoch {
		// A restart while the RCP is down would miss something, but no move of a workload.
		return
	}
	if err := os.Remove(f.savedPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.unsaved = &saved
		f.config.Logger.Error("cannot remove the configuration of an earlier epoch: the one in use is not acknowledged until it is saved", "err", err)
	}
}

// kept says whether a restart begins with the epoch of the newest configuration, or without any.
func (f *Feed) kept() bool {
	f.saving.Lock()
	defer f.saving.Unlock()
	return f.unsaved == nil
}

// keep returns true when that is so, and tries to have it so until ctx ends.
func (f *Feed) keep(ctx context.Context) bool {
	for !f.kept() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(saveAgain):
		}
		f.saving.Lock()
		if f.unsaved != nil {
			f.store(*f.unsaved)
		}
		f.saving.Unlock()
	}
	return true
}

// write makes the file say what is to be saved, and whether the router's Lease keeps it true. It is false where that
// cannot be. Whoever calls it holds saving.
func (f *Feed) write(saved routing.Saved) bool {
	since := f.registered.Load()
	saved.Released = since == nil || saved.Ring.Status.Epoch < *since
	if f.saved != nil && f.saved.Released == saved.Released &&
		equality.Semantic.DeepEqual(saved.Ring, f.saved.Ring) && equality.Semantic.DeepEqual(saved.Cells, f.saved.Cells) {
		return true
	}
	saved.SavedAt = f.config.Now()
	if err := routing.Save(f.savedPath, &saved); err != nil {
		f.saved = nil
		f.config.Logger.Error("cannot save the configuration", "err", err)
		return false
	}
	f.saved = &saved
	return true
}
