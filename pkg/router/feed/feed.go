// Package feed keeps the router's configuration hot: it watches Ring, Cell and the cells' kubeconfig
// Secrets in the RCP and publishes an immutable [State] at each change.
//
// Triggers: any change of the Ring, a Cell, or a Secret in kubecell-system.
// Reads: those three kinds, from the RCP.
// Writes: the last good configuration, to a file.
// Why it may run twice: every replica of the router has its own.
// After a crash, or while the RCP is down: [Feed.Start] begins with the file.
//
// A configuration that makes no sense (a layout that is refused, a cell without credentials) never
// replaces a good one: the last good State stays, and the reason is logged.
package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

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
	Logger  *slog.Logger
	Now     func() time.Time
}

// Feed publishes the newest State. The zero value is not usable; see [New].
type Feed struct {
	config    Config
	rings     cache.SharedIndexInformer
	cells     cache.SharedIndexInformer
	secrets   cache.SharedIndexInformer
	rcp       *upstream.ControlPlane
	state     atomic.Pointer[State]
	changed   chan struct{}
	stopped   sync.WaitGroup
	savedPath string
}

// New returns a Feed that does nothing yet.
func New(config Config) (*Feed, error) {
	kube, err := kubernetes.NewForConfig(config.RCP)
	if err != nil {
		return nil, fmt.Errorf("build client of the RCP: %w", err)
	}
	kubecell, err := client.New(config.RCP)
	if err != nil {
		return nil, err
	}
	rcp, err := newRCP(config)
	if err != nil {
		return nil, err
	}
	f := &Feed{
		config:    config,
		rcp:       rcp,
		changed:   make(chan struct{}, 1),
		savedPath: filepath.Join(config.StateDir, fileName),
	}
	f.rings = newInformer[v1alpha1.Ring, v1alpha1.RingList](kubecell.Rings(), &v1alpha1.Ring{})
	f.cells = newInformer[v1alpha1.Cell, v1alpha1.CellList](kubecell.Cells(), &v1alpha1.Cell{})
	f.secrets = cache.NewSharedIndexInformer(
		cache.NewListWatchFromClient(kube.CoreV1().RESTClient(), "secrets", v1alpha1.Namespace, fields.Everything()),
		&corev1.Secret{}, 0, cache.Indexers{})
	for _, informer := range f.informers() {
		if _, err := informer.AddEventHandler(f.handler()); err != nil {
			return nil, fmt.Errorf("watch the RCP: %w", err)
		}
	}
	return f, nil
}

// State returns the newest configuration. It is nil only before Start has returned.
func (f *Feed) State() *State { return f.state.Load() }

// Start begins to watch and returns when there is a first State: from the RCP, or from the file where
// the RCP does not answer in time. It fails where neither gives one. The watch goes on until ctx
// ends; [Feed.Wait] returns when it has.
func (f *Feed) Start(ctx context.Context) error {
	for _, informer := range f.informers() {
		f.stopped.Go(func() { informer.RunWithContext(ctx) })
	}
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
	if state := f.state.Load(); state != nil {
		state.closeUnused(nil)
	}
	f.rcp.Close()
}

func (f *Feed) informers() []cache.SharedIndexInformer {
	return []cache.SharedIndexInformer{f.rings, f.cells, f.secrets}
}

func (f *Feed) synced() bool {
	return f.rings.HasSynced() && f.cells.HasSynced() && f.secrets.HasSynced()
}

func (f *Feed) first(ctx context.Context) error {
	deadline, cancel := context.WithTimeout(ctx, f.config.InitialTimeout)
	defer cancel()
	if cache.WaitForCacheSync(deadline.Done(), f.synced) {
		err := f.refresh()
		if err == nil {
			return nil
		}
		return f.fromFile(fmt.Errorf("use the configuration in the RCP: %w", err))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return f.fromFile(fmt.Errorf("the router control plane %s did not answer in %s", f.config.RCP.Host, f.config.InitialTimeout))
}

// fromFile starts from the last good configuration; why is what made that necessary.
func (f *Feed) fromFile(why error) error {
	saved, err := routing.Load(f.savedPath)
	if err != nil {
		return errors.Join(why, err)
	}
	state, err := newState(&saved.Ring, saved.Cells, f.rcp, nil, f.config.Respond)
	if err != nil {
		return errors.Join(why, fmt.Errorf("use saved configuration: %w", err))
	}
	f.config.Logger.Warn("starting from the saved configuration", "reason", why, "savedAt", saved.SavedAt, "epoch", state.Snapshot.Epoch)
	f.state.Store(state)
	return nil
}

// follow refreshes once the RCP has answered, which after a start from the file may be much later, and
// then at each change.
func (f *Feed) follow(ctx context.Context) {
	if !cache.WaitForCacheSync(ctx.Done(), f.synced) {
		return
	}
	for {
		if err := f.refresh(); err != nil {
			f.config.Logger.Error("the configuration in the RCP is not usable, keeping the last good one", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-f.changed:
		}
	}
}

// refresh builds a State from what the informers hold, publishes and saves it.
func (f *Feed) refresh() error {
	object, exists, err := f.rings.GetStore().GetByKey(v1alpha1.RingName)
	if err != nil {
		return fmt.Errorf("read ring: %w", err)
	}
	if !exists {
		return errors.New("the router control plane has no Ring: it is not initialised")
	}
	ring := object.(*v1alpha1.Ring)
	cells := f.savedCells()
	state, err := newState(ring, cells, f.rcp, f.state.Load(), f.config.Respond)
	if err != nil {
		return err
	}
	previous := f.state.Swap(state)
	if previous != nil {
		previous.closeUnused(state)
	}
	if previous != nil {
		close(previous.replaced)
	}
	if previous == nil || previous.Snapshot.Epoch != state.Snapshot.Epoch {
		f.config.Logger.Info("using ring", "epoch", state.Snapshot.Epoch, "phase", state.Snapshot.Phase, "cells", state.Snapshot.Table.Cells())
	}
	for _, why := range state.Broken() {
		f.config.Logger.Error("a cell has no usable credentials, keeping its last good ones where there were any", "err", why)
	}
	err = routing.Save(f.savedPath, &routing.Saved{SavedAt: f.config.Now(), Server: f.config.RCP.Host, Ring: *ring, Cells: state.Saved()})
	if err != nil {
		// The router serves all the same; only a restart while the RCP is down would miss this.
		f.config.Logger.Error("cannot save the configuration", "err", err)
	}
	return nil
}

func (f *Feed) savedCells() []routing.SavedCell {
	var out []routing.SavedCell
	for _, object := range f.cells.GetStore().List() {
		cell := object.(*v1alpha1.Cell)
		saved := routing.SavedCell{Cell: *cell}
		key := v1alpha1.Namespace + "/" + cell.Spec.KubeconfigSecretRef.Name
		if secret, exists, err := f.secrets.GetStore().GetByKey(key); err == nil && exists {
			saved.Kubeconfig = secret.(*corev1.Secret).Data[v1alpha1.KubeconfigKey]
		}
		out = append(out, saved)
	}
	return out
}

// handler tells follow that something changed; many changes at once are one.
func (f *Feed) handler() cache.ResourceEventHandler {
	notify := func() {
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		UpdateFunc: func(any, any) { notify() },
		DeleteFunc: func(any) { notify() },
	}
}

func newInformer[T, L any](resource client.Resource[T, L], example runtime.Object) cache.SharedIndexInformer {
	return cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			l, err := resource.List(ctx, options)
			if err != nil {
				return nil, err
			}
			return any(l).(runtime.Object), nil
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, options)
		},
	}, example, 0, cache.Indexers{})
}
