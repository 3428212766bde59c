package federation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// pageSize is how many objects' metadata one request asks for.
const pageSize = 500

// Resource is a Sharded resource and the rule that makes its objects' keys.
type Resource struct {
	schema.GroupVersionResource
	Key placement.KeyRule
}

// ShardedResources are the resources that the RCP serves, can list, and that are Sharded. What only
// a cell serves is not part of the federation.
func ShardedResources(rcp *rest.Config, classes *placement.Classes) ([]Resource, error) {
	client, err := discovery.NewDiscoveryClientForConfig(rcp)
	if err != nil {
		return nil, fmt.Errorf("build discovery client: %w", err)
	}
	lists, err := client.ServerPreferredResources()
	// An aggregated API that is down hides its own resources only.
	if err != nil && len(lists) == 0 {
		return nil, fmt.Errorf("discover resources: %w", err)
	}
	var out []Resource
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("discover resources: %w", err)
		}
		for _, r := range list.APIResources {
			class, key := classes.Of(gv.Group, r.Name, "")
			if class == placement.Sharded && slices.Contains(r.Verbs, "list") && !strings.Contains(r.Name, "/") {
				out = append(out, Resource{GroupVersionResource: gv.WithResource(r.Name), Key: key})
			}
		}
	}
	return out, nil
}

// eachPage lists the metadata of a resource. A cell that does not serve the resource has no objects
// of it. When a list takes so long that its position expires, it goes on from the same name at a
// newer version, as the server proposes: an object may be met twice then, none that stayed is missed.
func eachPage(ctx context.Context, client metadata.Interface, resource schema.GroupVersionResource, namespace string,
	options metav1.ListOptions, visit func([]metav1.PartialObjectMetadata) error,
) error {
	options.Limit = pageSize
	for {
		list, err := client.Resource(resource).Namespace(namespace).List(ctx, options)
		var status apierrors.APIStatus
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case apierrors.IsResourceExpired(err) && errors.As(err, &status) && status.Status().Continue != "" &&
			status.Status().Continue != options.Continue:
			options.Continue = status.Status().Continue
			continue
		case err != nil:
			return fmt.Errorf("list %s: %w", resource.GroupResource(), err)
		}
		if err := visit(list.Items); err != nil {
			return err
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return nil
		}
	}
}
