// Package controllers runs those controllers of kube-controller-manager that a control plane without
// nodes needs. They are the real ones, put together here without the command around them, which would
// link volumes, scheduler and kubelet into the binary, and could not say when its caches are filled.
//
//   - namespace: empties namespaces that are being deleted
//   - garbage collector: deletes dependents of deleted owners
//   - service account: makes the default account of each namespace
//   - service account token: fills Secrets of type kubernetes.io/service-account-token
//   - root CA publisher: makes the kube-root-ca.crt ConfigMap of each namespace
//   - cluster role aggregation: fills admin, edit, view and aggregated roles
//   - resource quota: counts what quotas limit
//
// As in a real cluster each acts as a service account of its own in kube-system, so that audit logs and
// admission policies tell them apart. There is no leader election: the lock on the control plane's
// directory lets only one of these processes exist, and a restart takes over at once.
//
// Start reading at [Run].
package controllers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/controller-manager/pkg/clientbuilder"
	"k8s.io/controller-manager/pkg/informerfactory"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
)

const (
	// discoveryPeriod is how soon the controllers notice a new or removed CRD.
	discoveryPeriod = 30 * time.Second
	minResync       = 12 * time.Hour
	endGrace        = 5 * time.Second
)

// loop is one controller. It returns when the context ends.
type loop func(ctx context.Context)

// manager holds what the controllers share. Data flows from the apiserver through informers into the
// controllers, and back through the client that clients makes for each of them.
type manager struct {
	dir     layout.Dir
	root    clientbuilder.ControllerClientBuilder // acts as system:kube-controller-manager
	clients clientbuilder.ControllerClientBuilder // act as service accounts

	typed    informers.SharedInformerFactory
	metadata metadatainformer.SharedInformerFactory
	both     informerfactory.InformerFactory
	mapper   *restmapper.DeferredDiscoveryRESTMapper
	// started is closed when the informers run; controllers that add informers later wait for it.
	started chan struct{}
}

// Run runs the controllers until the context ends. It calls ready once, when their caches are filled
// and the default namespace has what every namespace gets.
func Run(ctx context.Context, dir layout.Dir, config *rest.Config, ready func() error) error {
	m, err := newManager(dir, config)
	if err != nil {
		return err
	}
	loops, err := m.build(ctx)
	if err != nil {
		return err
	}
	m.typed.Start(ctx.Done())
	m.metadata.Start(ctx.Done())
	close(m.started)

	var running sync.WaitGroup
	for _, run := range append(loops, m.refreshMapper) {
		running.Go(func() { run(ctx) })
	}
	if err = m.awaitReady(ctx); err == nil {
		err = ready()
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	<-ctx.Done()
	awaitEnd(&running)
	return nil
}

// awaitEnd gives the controllers time to finish what they do. One that waits for an apiserver that is
// gone would never finish.
func awaitEnd(running *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		running.Wait()
	}()
	timer := time.NewTimer(endGrace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

func newManager(dir layout.Dir, config *rest.Config) (*manager, error) {
	root := clientbuilder.SimpleControllerClientBuilder{ClientConfig: config}
	core, err := root.Client("kube-controller-manager")
	if err != nil {
		return nil, fmt.Errorf("making client: %w", err)
	}
	metadataClient, err := metadata.NewForConfig(root.ConfigOrDie("metadata-informers"))
	if err != nil {
		return nil, fmt.Errorf("making metadata client: %w", err)
	}
	discovery, err := root.DiscoveryClient("controller-discovery")
	if err != nil {
		return nil, fmt.Errorf("making discovery client: %w", err)
	}
	m := &manager{
		dir:      dir,
		root:     root,
		clients:  clientbuilder.NewDynamicClientBuilder(rest.AnonymousClientConfig(config), core.CoreV1(), metav1.NamespaceSystem),
		typed:    informers.NewSharedInformerFactoryWithOptions(core, resync(), informers.WithTransform(trim)),
		metadata: metadatainformer.NewSharedInformerFactoryWithOptions(metadataClient, resync(), metadatainformer.WithTransform(trim)),
		mapper:   restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discovery)),
		started:  make(chan struct{}),
	}
	m.both = informerfactory.NewInformerFactory(m.typed, m.metadata)
	return m, nil
}

func (m *manager) refreshMapper(ctx context.Context) {
	wait.UntilWithContext(ctx, func(context.Context) { m.mapper.Reset() }, discoveryPeriod)
}

// awaitReady waits for the controllers' effect on the default namespace, in the informers' own caches.
func (m *manager) awaitReady(ctx context.Context) error {
	accounts := m.typed.Core().V1().ServiceAccounts().Lister().ServiceAccounts(metav1.NamespaceDefault)
	configs := m.typed.Core().V1().ConfigMaps().Lister().ConfigMaps(metav1.NamespaceDefault)
	for kind, synced := range m.typed.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("filling cache of %v: %w", kind, context.Cause(ctx))
		}
	}
	return wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(context.Context) (bool, error) {
		_, accountErr := accounts.Get("default")
		_, configErr := configs.Get("kube-root-ca.crt")
		return accountErr == nil && configErr == nil, nil
	})
}

// resync spreads the full passes of the informers, so that they do not all come at once.
func resync() time.Duration {
	return time.Duration((1 + rand.Float64()) * float64(minResync))
}

// trim drops the field that controllers never read and that is often the largest of an object.
func trim(obj any) (any, error) {
	if accessor, err := meta.Accessor(obj); err == nil {
		accessor.SetManagedFields(nil)
	}
	return obj, nil
}
