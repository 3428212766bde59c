// Package client is the typed client of the API group kubecell.io/v1alpha1.
//
// It talks to whatever serves that group: the router control plane itself, or a router, which
// forwards the group there. It holds no state and caches nothing.
package client

import (
	"context"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/lease"
)

// Resource is the client of one kind. *T is the object, *L its list. Errors are those of client-go;
// callers tell them apart with k8s.io/apimachinery/pkg/api/errors.
type Resource[T, L any] interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*T, error)
	List(ctx context.Context, opts metav1.ListOptions) (*L, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
	Create(ctx context.Context, obj *T, opts metav1.CreateOptions) (*T, error)
	Update(ctx context.Context, obj *T, opts metav1.UpdateOptions) (*T, error)
	UpdateStatus(ctx context.Context, obj *T, opts metav1.UpdateOptions) (*T, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*T, error)
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
}

// Client has one [Resource] for each kind of the group.
type Client struct {
	rest  rest.Interface
	codec runtime.ParameterCodec
}

// New returns a client for the server that config names. It makes no request.
func New(config *rest.Config) (*Client, error) {
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("build HTTP client: %w", err)
	}
	return NewForHTTPClient(config, httpClient)
}

// Connect returns the clients of one server, for Kubernetes' own kinds and for those of this group, over the same
// connections, which [lease.Guard] guards. It makes no request.
func Connect(config *rest.Config) (kubernetes.Interface, *Client, error) {
	config = lease.Guarded(config)
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, nil, fmt.Errorf("build HTTP client: %w", err)
	}
	kube, err := kubernetes.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, nil, fmt.Errorf("build Kubernetes client: %w", err)
	}
	client, err := NewForHTTPClient(config, httpClient)
	return kube, client, err
}

// NewForHTTPClient is New with the connections of httpClient.
func NewForHTTPClient(config *rest.Config, httpClient *http.Client) (*Client, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register %s: %w", v1alpha1.GroupVersion(), err)
	}
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	gv := v1alpha1.GroupVersion()
	c := rest.CopyConfig(config)
	c.GroupVersion = &gv
	c.APIPath = "/apis"
	c.ContentType = runtime.ContentTypeJSON
	c.AcceptContentTypes = runtime.ContentTypeJSON
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	restClient, err := rest.RESTClientForConfigAndClient(c, httpClient)
	if err != nil {
		return nil, fmt.Errorf("build client of %s: %w", gv, err)
	}
	return &Client{rest: restClient, codec: runtime.NewParameterCodec(scheme)}, nil
}

// Rings is the client of Ring.
func (c *Client) Rings() Resource[v1alpha1.Ring, v1alpha1.RingList] {
	return newResource[v1alpha1.Ring, v1alpha1.RingList](c, "rings")
}

// Cells is the client of Cell.
func (c *Client) Cells() Resource[v1alpha1.Cell, v1alpha1.CellList] {
	return newResource[v1alpha1.Cell, v1alpha1.CellList](c, "cells")
}

// Rebalances is the client of Rebalance.
func (c *Client) Rebalances() Resource[v1alpha1.Rebalance, v1alpha1.RebalanceList] {
	return newResource[v1alpha1.Rebalance, v1alpha1.RebalanceList](c, "rebalances")
}

// Failovers is the client of Failover.
func (c *Client) Failovers() Resource[v1alpha1.Failover, v1alpha1.FailoverList] {
	return newResource[v1alpha1.Failover, v1alpha1.FailoverList](c, "failovers")
}

// object is *T where *T is an API object.
type object[T any] interface {
	*T
	metav1.Object
	runtime.Object
}

// list is *L where *L is a list of API objects.
type list[L any] interface {
	*L
	runtime.Object
}

func newResource[T, L any, PT object[T], PL list[L]](c *Client, plural string) *gentype.ClientWithList[PT, PL] {
	return gentype.NewClientWithList[PT, PL](plural, c.rest, c.codec, metav1.NamespaceNone,
		func() PT { return PT(new(T)) },
		func() PL { return PL(new(L)) })
}
