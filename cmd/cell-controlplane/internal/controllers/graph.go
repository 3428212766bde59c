package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/quota/v1/generic"
	"k8s.io/client-go/metadata"
	"k8s.io/kubernetes/pkg/controller"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/resourcequota"
	quotainstall "k8s.io/kubernetes/pkg/quota/v1/install"
)

// The two controllers of this file watch all resources there are, so each consists of two loops: one
// that works, and one that asks discovery which resources have come or gone.

func (m *manager) garbageCollector(ctx context.Context) (loop, error) {
	const name = "generic-garbage-collector"
	client, err := m.clients.Client(name)
	if err != nil {
		return nil, err
	}
	discovery, err := m.clients.DiscoveryClient(name)
	if err != nil {
		return nil, err
	}
	config, err := m.clients.Config(name)
	if err != nil {
		return nil, err
	}
	// Each deletion takes two requests.
	config.QPS *= 2
	deleter, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	watcher, err := metadata.NewForConfig(m.root.ConfigOrDie("metadata-informers"))
	if err != nil {
		return nil, err
	}
	graph := garbagecollector.NewDependencyGraphBuilder(ctx, watcher, m.mapper,
		garbagecollector.DefaultIgnoredResources(), m.both, m.started)
	c, err := garbagecollector.NewComposedGarbageCollector(ctx, client, deleter, m.mapper, graph)
	if err != nil {
		return nil, err
	}
	return both(
		func(ctx context.Context) { c.Run(ctx, 10, discoveryPeriod) },
		func(ctx context.Context) { c.Sync(ctx, discovery, discoveryPeriod) },
	), nil
}

// quotaResync is how often every quota is looked at, changed or not, which is what mends a status that someone
// else wrote. kube-controller-manager takes five minutes; the few quotas of a small control plane allow one.
const quotaResync = time.Minute

func (m *manager) resourceQuota(ctx context.Context) (loop, error) {
	const name = "resourcequota-controller"
	client, err := m.clients.Client(name)
	if err != nil {
		return nil, err
	}
	discovery, err := m.clients.DiscoveryClient(name)
	if err != nil {
		return nil, err
	}
	lister := generic.ListerFuncForResourceFunc(m.typed.ForResource)
	quota, err := quotainstall.NewQuotaConfigurationForControllers(lister, m.typed)
	if err != nil {
		return nil, err
	}
	c, err := resourcequota.NewController(ctx, &resourcequota.ControllerOptions{
		QuotaClient:               client.CoreV1(),
		ResourceQuotaInformer:     m.typed.Core().V1().ResourceQuotas(),
		ResyncPeriod:              controller.StaticResyncPeriodFunc(quotaResync),
		InformerFactory:           m.both,
		ReplenishmentResyncPeriod: resync,
		DiscoveryFunc:             discovery.ServerPreferredNamespacedResources,
		IgnoredResourcesFunc:      quota.IgnoredResources,
		InformersStarted:          m.started,
		Registry:                  generic.NewRegistry(quota.Evaluators()),
		UpdateFilter:              quotainstall.DefaultUpdateFilter(),
	})
	if err != nil {
		return nil, err
	}
	return both(
		func(ctx context.Context) { c.Run(ctx, 5) },
		func(ctx context.Context) { c.Sync(ctx, discovery.ServerPreferredNamespacedResources, discoveryPeriod) },
	), nil
}

func both(first, second loop) loop {
	return func(ctx context.Context) {
		var running sync.WaitGroup
		running.Go(func() { first(ctx) })
		running.Go(func() { second(ctx) })
		running.Wait()
	}
}
