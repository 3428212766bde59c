package controllers

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	"k8s.io/kubernetes/pkg/controller/namespace"
	serviceaccountcontroller "k8s.io/kubernetes/pkg/controller/serviceaccount"
	"k8s.io/kubernetes/pkg/serviceaccount"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/pki"
)

// build makes all controllers and registers their informers. Service account tokens come first, as in
// kube-controller-manager, though no other controller depends on them here.
func (m *manager) build(ctx context.Context) ([]loop, error) {
	var loops []loop
	for _, b := range []struct {
		name  string
		build func(context.Context) (loop, error)
	}{
		{"serviceaccount-token-controller", m.serviceAccountTokens},
		{"serviceaccount-controller", m.serviceAccounts},
		{"root-ca-certificate-publisher-controller", m.rootCAPublisher},
		{"clusterrole-aggregation-controller", m.clusterRoleAggregation},
		{"namespace-controller", m.namespaces},
		{"garbage-collector-controller", m.garbageCollector},
		{"resourcequota-controller", m.resourceQuota},
	} {
		ctx := klog.NewContext(ctx, klog.LoggerWithName(klog.FromContext(ctx), b.name))
		run, err := b.build(ctx)
		if err != nil {
			return nil, fmt.Errorf("making %s: %w", b.name, err)
		}
		loops = append(loops, func(context.Context) { run(ctx) })
	}
	return loops, nil
}

func (m *manager) serviceAccountTokens(ctx context.Context) (loop, error) {
	key, err := keyutil.PrivateKeyFromFile(m.dir.Key(pki.ServiceAccount))
	if err != nil {
		return nil, err
	}
	generator, err := serviceaccount.JWTTokenGenerator(serviceaccount.LegacyIssuer, key)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(m.dir.Cert("ca"))
	if err != nil {
		return nil, err
	}
	// Only the root client may write tokens of every account.
	client, err := m.root.Client("tokens-controller")
	if err != nil {
		return nil, err
	}
	core := m.typed.Core().V1()
	c, err := serviceaccountcontroller.NewTokensController(klog.FromContext(ctx), core.ServiceAccounts(), core.Secrets(), client,
		serviceaccountcontroller.TokensControllerOptions{TokenGenerator: generator, RootCA: ca})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) { c.Run(ctx, 2) }, nil
}

func (m *manager) serviceAccounts(ctx context.Context) (loop, error) {
	client, err := m.clients.Client("service-account-controller")
	if err != nil {
		return nil, err
	}
	core := m.typed.Core().V1()
	c, err := serviceaccountcontroller.NewServiceAccountsController(klog.FromContext(ctx), core.ServiceAccounts(), core.Namespaces(),
		client, serviceaccountcontroller.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) { c.Run(ctx, 1) }, nil
}

func (m *manager) rootCAPublisher(context.Context) (loop, error) {
	ca, err := os.ReadFile(m.dir.Cert("ca"))
	if err != nil {
		return nil, err
	}
	client, err := m.clients.Client("root-ca-cert-publisher")
	if err != nil {
		return nil, err
	}
	core := m.typed.Core().V1()
	c, err := rootcacertpublisher.NewPublisher(core.ConfigMaps(), core.Namespaces(), client, ca)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) { c.Run(ctx, 1) }, nil
}

func (m *manager) clusterRoleAggregation(context.Context) (loop, error) {
	client, err := m.clients.Client("clusterrole-aggregation-controller")
	if err != nil {
		return nil, err
	}
	c := clusterroleaggregation.NewClusterRoleAggregation(m.typed.Rbac().V1().ClusterRoles(), client.RbacV1())
	return func(ctx context.Context) { c.Run(ctx, 2) }, nil
}

func (m *manager) namespaces(ctx context.Context) (loop, error) {
	config, err := m.clients.Config("namespace-controller")
	if err != nil {
		return nil, err
	}
	// Emptying a namespace lists every resource there is; the ordinary limit would stretch it to seconds.
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	c := namespace.NewNamespaceController(ctx, client, metadataClient, client.Discovery().ServerPreferredNamespacedResources,
		m.typed.Core().V1().Namespaces(), 5*time.Minute, corev1.FinalizerKubernetes)
	return func(ctx context.Context) { c.Run(ctx, 10) }, nil
}
