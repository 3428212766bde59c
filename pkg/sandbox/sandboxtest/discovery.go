package sandboxtest

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// Discovered says whether a control plane tells of a resource: what connects reads that once, and a resource is served
// before.
func Discovered(api discovery.DiscoveryInterface, resource schema.GroupVersionResource) bool {
	version := resource.GroupVersion().String()
	names := func(list *metav1.APIResourceList) bool {
		return list.GroupVersion == version && slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool {
			return r.Name == resource.Resource
		})
	}
	list, err := api.ServerResourcesForGroupVersion(version)
	if err != nil || !names(list) {
		return false
	}
	lists, err := api.ServerPreferredResources()
	return err == nil && slices.ContainsFunc(lists, names)
}
