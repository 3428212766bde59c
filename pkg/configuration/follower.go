// Package configuration follows what the RCP says of the federation: the Ring, the Cells, and the Secrets
// with the cells' kubeconfigs. Routers and backup daemons both go by it.
//
// Not promised: that what is read makes sense, or that all of it is from one moment. Whoever reads judges
// it, and keeps the last good one.
package configuration

import (
	"context"
	"errors"
	"fmt"
	"sync"

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
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// Follower knows the newest Ring, Cells and Secrets in kubecell-system.
type Follower struct {
	kubecell *client.Client
	rings    cache.SharedIndexInformer
	cells    cache.SharedIndexInformer
	secrets  cache.SharedIndexInformer
	changed  chan struct{}
	stopped  sync.WaitGroup
}

// New returns a Follower that does nothing before [Follower.Start].
func New(rcp *rest.Config) (*Follower, error) {
	kube, err := kubernetes.NewForConfig(rcp)
	if err != nil {
		return nil, fmt.Errorf("build client of the RCP: %w", err)
	}
	kubecell, err := client.New(rcp)
	if err != nil {
		return nil, err
	}
	f := &Follower{
		kubecell: kubecell,
		changed:  make(chan struct{}, 1),
		rings:    newInformer[v1alpha1.Ring, v1alpha1.RingList](kubecell.Rings(), &v1alpha1.Ring{}),
		cells:    newInformer[v1alpha1.Cell, v1alpha1.CellList](kubecell.Cells(), &v1alpha1.Cell{}),
		secrets: cache.NewSharedIndexInformer(
			cache.NewListWatchFromClient(kube.CoreV1().RESTClient(), "secrets", v1alpha1.Namespace, fields.Everything()),
			&corev1.Secret{}, 0, cache.Indexers{}),
	}
	for _, informer := range f.informers() {
		if _, err := informer.AddEventHandler(f.handler()); err != nil {
			return nil, fmt.Errorf("watch the RCP: %w", err)
		}
	}
	return f, nil
}

// Start begins to watch, until ctx ends. [Follower.Wait] returns when it has.
func (f *Follower) Start(ctx context.Context) {
	for _, informer := range f.informers() {
		f.stopped.Go(func() { informer.RunWithContext(ctx) })
	}
}

// Wait returns when everything that Start began has ended.
func (f *Follower) Wait() { f.stopped.Wait() }

// Synced says whether the RCP has answered: before that nothing is known.
func (f *Follower) Synced() bool {
	return f.rings.HasSynced() && f.cells.HasSynced() && f.secrets.HasSynced()
}

// Changed tells one reader that something changed; many changes at once are one.
func (f *Follower) Changed() <-chan struct{} { return f.changed }

// Ring returns the newest Ring, which the caller must not change.
func (f *Follower) Ring() (*v1alpha1.Ring, error) {
	object, exists, err := f.rings.GetStore().GetByKey(v1alpha1.RingName)
	if err != nil {
		return nil, fmt.Errorf("read ring: %w", err)
	}
	if !exists {
		return nil, errors.New("the router control plane has no Ring: it is not initialised")
	}
	return object.(*v1alpha1.Ring), nil
}

// Epoch asks the RCP for the epoch that the Ring has now, which may be a later one than that of [Follower.Ring].
func (f *Follower) Epoch(ctx context.Context) (int64, error) {
	ring, err := f.kubecell.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("read the ring: %w", err)
	}
	return ring.Status.Epoch, nil
}

// Cells returns the newest Cells, in no order, each with the kubeconfig in its Secret if there is one.
func (f *Follower) Cells() []routing.SavedCell {
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

func (f *Follower) informers() []cache.SharedIndexInformer {
	return []cache.SharedIndexInformer{f.rings, f.cells, f.secrets}
}

func (f *Follower) handler() cache.ResourceEventHandler {
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
