package migration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// RequestTimeout is for one request: a cell that hangs must not keep units closed to writes.
const RequestTimeout = 30 * time.Second

// Cell is a cell as the mover reaches it. It knows what the cell served when it was connected. It may be
// used by many goroutines at once.
type Cell struct {
	Name string

	client *rest.RESTClient
	meta   metadata.Interface
	// resources are in the version that the cell prefers, served in every one that it serves; both without their class.
	resources, served []Resource
}

// Connect asks the cell what it serves. config is that of the mover: the fence has to let it through. A cell whose apiserver
// still starts is an error: it says that it serves no custom resources before it knows of any, and their objects would be
// left behind.
func Connect(name string, config *rest.Config) (*Cell, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, -1
	if config.Timeout == 0 {
		config.Timeout = RequestTimeout
	}
	config.WarningHandler = rest.NoWarnings{} // they are for those who write objects of their own
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	config.AcceptContentTypes, config.ContentType = "application/json", "application/json"
	httpClient, err := shortRequests(config)
	if err != nil {
		return nil, fmt.Errorf("build HTTP client for cell %s: %w", name, err)
	}
	c := &Cell{Name: name}
	if c.client, err = rest.UnversionedRESTClientForConfigAndClient(config, httpClient); err != nil {
		return nil, fmt.Errorf("build client for cell %s: %w", name, err)
	}
	if c.meta, err = metadata.NewForConfigAndClient(metadata.ConfigFor(config), httpClient); err != nil {
		return nil, fmt.Errorf("build metadata client for cell %s: %w", name, err)
	}
	if err := c.started(context.Background()); err != nil {
		return nil, fmt.Errorf("cell %s is not ready: %w", name, err)
	}
	return c, c.discover(config, httpClient)
}

// started says by nil that the cell's apiserver is ready. One that starts may refuse what it will allow, and not know
// what it will serve: RBAC, definitions and admission come one after the other. Where the question itself is refused
// nothing is known against the cell.
func (c *Cell) started(ctx context.Context) error {
	err := c.client.Get().AbsPath("/readyz").Do(ctx).Error()
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (c *Cell) discover(config *rest.Config, httpClient *http.Client) error {
	client, err := discovery.NewDiscoveryClientForConfigAndClient(config, httpClient)
	if err != nil {
		return fmt.Errorf("build discovery client for cell %s: %w", c.Name, err)
	}
	lists, err := client.ServerPreferredResources()
	// An aggregated API that is down hides its objects. To go on would be to leave them behind.
	if err != nil {
		return fmt.Errorf("discover resources of cell %s: %w", c.Name, err)
	}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return fmt.Errorf("discover resources of cell %s: %w", c.Name, err)
		}
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "create") || strings.Contains(r.Name, "/") {
				continue
			}
			c.resources = append(c.resources, Resource{GroupVersionResource: gv.WithResource(r.Name), Kind: r.Kind, Namespaced: r.Namespaced})
		}
	}
	return c.discoverVersions(client)
}

// discoverVersions finds out what there is in other versions, and which statuses are subresources: the preferred
// resources come without these.
func (c *Cell) discoverVersions(client *discovery.DiscoveryClient) error {
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		return fmt.Errorf("discover resources of cell %s: %w", c.Name, err)
	}
	status := map[schema.GroupVersionResource]bool{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range list.APIResources {
			if resource, isStatus := strings.CutSuffix(r.Name, "/status"); isStatus {
				status[gv.WithResource(resource)] = true
			}
			if !strings.Contains(r.Name, "/") {
				c.served = append(c.served, Resource{GroupVersionResource: gv.WithResource(r.Name), Kind: r.Kind, Namespaced: r.Namespaced})
			}
		}
	}
	for _, resources := range [][]Resource{c.resources, c.served} {
		for i := range resources {
			resources[i].Status = status[resources[i].GroupVersionResource]
		}
	}
	return nil
}

// kind finds the resource of an owner.
func (c *Cell) kind(apiVersion, kind string) (Resource, bool) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return Resource{}, false
	}
	for _, r := range c.resources {
		if r.Group == gv.Group && r.Kind == kind {
			return r, true
		}
	}
	return Resource{}, false
}

func (c *Cell) get(ctx context.Context, o *Object) (*document, error) {
	return do(ctx, c.client.Get().AbsPath(o.path(o.Name)))
}

func (c *Cell) create(ctx context.Context, o *Object, body []byte) (*document, error) {
	return do(ctx, writing(c.client.Post(), body).AbsPath(o.path()))
}

// update replaces the object, or the subresource that follows its name.
func (c *Cell) update(ctx context.Context, o *Object, body []byte, subresource ...string) (*document, error) {
	return do(ctx, writing(c.client.Put(), body).AbsPath(o.path(append([]string{o.Name}, subresource...)...)))
}

// updateBlind replaces the object, and wants nothing back but whether it worked. It costs a cell less than a
// patch, for which it encodes the object and decodes it again.
func (c *Cell) updateBlind(ctx context.Context, o *Object, body []byte) error {
	return blind(writing(c.client.Put(), body)).AbsPath(o.path(o.Name)).Do(ctx).Error()
}

// patch merges; the answer is the whole object.
func (c *Cell) patch(ctx context.Context, o *Object, body []byte) (*document, error) {
	return do(ctx, writing(c.client.Patch(types.MergePatchType), body).AbsPath(o.path(o.Name)))
}

// patchBlind merges, and wants nothing back but whether it worked.
func (c *Cell) patchBlind(ctx context.Context, o *Object, body []byte) error {
	return blind(writing(c.client.Patch(types.MergePatchType), body)).AbsPath(o.path(o.Name)).Do(ctx).Error()
}

// writing is a write. That a cell drops fields which it does not know is found by the comparison: it need not look for
// them itself.
func writing(request *rest.Request, body []byte) *rest.Request {
	return request.Param("fieldManager", v1alpha1.MoverFieldManager).Param("fieldValidation", metav1.FieldValidationIgnore).Body(body)
}

func blind(request *rest.Request) *rest.Request {
	return request.SetHeader("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
}

// delete removes one version of one object and tears nothing down with it.
func (c *Cell) delete(ctx context.Context, o *Object, uid types.UID, version string) error {
	preconditions := metav1.Preconditions{UID: &uid}
	if version != "" {
		preconditions.ResourceVersion = &version
	}
	return c.deleteBy(ctx, o, metav1.DeletePropagationOrphan, preconditions)
}

func (c *Cell) deleteBy(ctx context.Context, o *Object, policy metav1.DeletionPropagation, preconditions metav1.Preconditions) error {
	body, err := encode(metav1.DeleteOptions{
		TypeMeta:          metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		PropagationPolicy: &policy, Preconditions: &preconditions,
	})
	if err != nil {
		return err
	}
	return c.client.Delete().AbsPath(o.path(o.Name)).Body(body).Do(ctx).Error()
}

func do(ctx context.Context, request *rest.Request) (*document, error) {
	result := request.Do(ctx)
	if err := result.Error(); err != nil {
		return nil, err
	}
	body, err := result.Raw()
	if err != nil {
		return nil, err
	}
	return parse(body)
}

// path is that of the object's collection, and of what follows it.
func (o *Object) path(rest ...string) string {
	r := o.Resource
	segments := []string{"/apis", r.Group, r.Version}
	if r.Group == "" {
		segments = []string{"/api", r.Version}
	}
	if r.Namespaced {
		segments = append(segments, "namespaces", o.Namespace)
	}
	return strings.Join(append(append(segments, r.Resource), rest...), "/")
}
