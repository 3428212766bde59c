package federation

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/client"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/lease"
)

// connection is the clients of one control plane over shared connections.
type connection struct {
	config  *rest.Config
	kube    kubernetes.Interface
	dynamic dynamic.Interface
	cell    *client.Client
}

// connect builds the clients; it makes no request.
func connect(config *rest.Config) (*connection, error) {
	config = lease.Guarded(config)
	// An operation makes a few dozen requests and ends: the server's own fairness is enough.
	config.QPS, config.Burst = -1, -1
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("build HTTP client: %w", err)
	}
	c := &connection{config: config}
	if c.kube, err = kubernetes.NewForConfigAndClient(config, httpClient); err != nil {
		return nil, fmt.Errorf("build Kubernetes client: %w", err)
	}
	if c.dynamic, err = dynamic.NewForConfigAndClient(config, httpClient); err != nil {
		return nil, fmt.Errorf("build dynamic client: %w", err)
	}
	if c.cell, err = client.NewForHTTPClient(config, httpClient); err != nil {
		return nil, err
	}
	return c, nil
}

// NotInitialised is the error of whatever needs a Ring where there is none.
func NotInitialised() error {
	return exit.Errorf(exit.Failure, "this control plane has no Ring %q: it is not a router control plane, or not initialised", v1alpha1.RingName).
		WithHint("kubectl cell init")
}

// ring reads the Ring; its absence is a user error.
func (c *connection) ring(ctx context.Context) (*v1alpha1.Ring, error) {
	ring, err := c.cell.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, NotInitialised()
	}
	if err != nil {
		return nil, fmt.Errorf("read ring: %w", err)
	}
	return ring, nil
}

// controlPlaneID is the identity of the control plane: the UID of kube-system, which lives as long
// as its etcd does and is copied to no other.
func (c *connection) controlPlaneID(ctx context.Context) (string, error) {
	ns, err := c.kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read namespace %s: %w", metav1.NamespaceSystem, err)
	}
	return string(ns.UID), nil
}

// passOn turns a refusal by the apiserver's validation into a user error that says what is allowed:
// the message of the CEL rule. Other errors get the action in front.
func passOn(action string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsInvalid(err):
		return exit.Errorf(exit.Usage, "%s: %w", action, err)
	case apierrors.IsForbidden(err):
		return exit.Errorf(exit.Refused, "%s: %w", action, err).
			WithHint("ask for the role kubecell-admin: kubectl create clusterrolebinding kubecell-admin-you --clusterrole=kubecell-admin --user=<you>")
	}
	return fmt.Errorf("%s: %w", action, err)
}
