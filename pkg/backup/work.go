package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cells"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// work is what the holder of the Lease does until ctx ends.
func work(ctx context.Context, config Config, metrics *replication.Metrics) error {
	controller, err := replication.NewController(replication.ControllerConfig{
		RCP: config.RCP, Logger: config.Logger, Metrics: metrics, Now: config.Now,
	})
	if err != nil {
		return err
	}
	f, err := newFollower(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer f.ended.Wait()
	defer cancel()
	states := make(chan *replication.State)
	f.ended.Go(func() { f.run(ctx, states) })
	return controller.Run(ctx, states)
}

// follower says which cells there are, at each change of Ring, Cell, or a Secret in kubecell-system.
type follower struct {
	logger  *slog.Logger
	rings   cache.SharedIndexInformer
	cells   cache.SharedIndexInformer
	secrets cache.SharedIndexInformer
	changed chan struct{}
	ended   sync.WaitGroup
}

func newFollower(config Config) (*follower, error) {
	kube, err := kubernetes.NewForConfig(config.RCP)
	if err != nil {
		return nil, fmt.Errorf("build client of the RCP: %w", err)
	}
	kubecell, err := client.New(config.RCP)
	if err != nil {
		return nil, err
	}
	f := &follower{
		logger: config.Logger, changed: make(chan struct{}, 1),
		rings: newInformer[v1alpha1.Ring, v1alpha1.RingList](kubecell.Rings(), &v1alpha1.Ring{}),
		cells: newInformer[v1alpha1.Cell, v1alpha1.CellList](kubecell.Cells(), &v1alpha1.Cell{}),
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

func (f *follower) informers() []cache.SharedIndexInformer {
	return []cache.SharedIndexInformer{f.rings, f.cells, f.secrets}
}

// run sends the newest state, once the RCP has answered and then at each change, until ctx ends. A ring
// that makes no sense is not sent.
func (f *follower) run(ctx context.Context, states chan<- *replication.State) {
	for _, informer := range f.informers() {
		f.ended.Go(func() { informer.RunWithContext(ctx) })
	}
	synced := func() bool { return f.rings.HasSynced() && f.cells.HasSynced() && f.secrets.HasSynced() }
	if !cache.WaitForCacheSync(ctx.Done(), synced) {
		return
	}
	for {
		state, err := f.state()
		if err != nil {
			f.logger.Error("the configuration in the RCP is not usable, keeping the last good one", "err", err)
		} else {
			select {
			case <-ctx.Done():
				return
			case states <- state:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-f.changed:
		}
	}
}

func (f *follower) state() (*replication.State, error) {
	object, exists, err := f.rings.GetStore().GetByKey(v1alpha1.RingName)
	if err != nil {
		return nil, fmt.Errorf("read ring: %w", err)
	}
	if !exists {
		return nil, errors.New("the router control plane has no Ring: it is not initialised")
	}
	snapshot, err := routing.FromRing(object.(*v1alpha1.Ring))
	if err != nil {
		return nil, err
	}
	access := map[string]replication.Access{}
	for _, object := range f.cells.GetStore().List() {
		cell := object.(*v1alpha1.Cell)
		access[cell.Name] = f.access(cell)
	}
	maps.DeleteFunc(access, func(cell string, _ replication.Access) bool { return snapshot.Unavailable[cell] })
	return &replication.State{Snapshot: snapshot, Cells: access}, nil
}

func (f *follower) access(cell *v1alpha1.Cell) replication.Access {
	var kubeconfig []byte
	key := v1alpha1.Namespace + "/" + cell.Spec.KubeconfigSecretRef.Name
	if secret, exists, err := f.secrets.GetStore().GetByKey(key); err == nil && exists {
		kubeconfig = secret.(*corev1.Secret).Data[v1alpha1.KubeconfigKey]
	}
	config, err := cells.Config(cell, kubeconfig)
	if err != nil {
		f.logger.Error("a cell has no usable credentials", "cell", cell.Name, "err", err)
		return replication.Access{Err: err}
	}
	return replication.Access{Config: config, Version: fmt.Sprintf("%s %s", cell.UID, kubeconfig) + config.Host}
}

// handler tells run that something changed; many changes at once are one.
func (f *follower) handler() cache.ResourceEventHandler {
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
