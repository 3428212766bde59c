package quota

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Counted is the resource whose objects a limit is about, and whether the limit is on their number alone.
func Counted(name corev1.ResourceName) (of schema.GroupResource, number bool) {
	text := string(name)
	if counted, ok := strings.CutPrefix(text, "count/"); ok {
		resource, group, _ := strings.Cut(counted, ".")
		return schema.GroupResource{Group: group, Resource: resource}, true
	}
	switch {
	case strings.HasPrefix(text, "services."):
		return schema.GroupResource{Resource: "services"}, false
	case name == corev1.ResourceRequestsStorage, strings.Contains(text, ".storageclass.storage.k8s.io/"),
		strings.Contains(text, ".volumeattributesclass.storage.k8s.io/"):
		return schema.GroupResource{Resource: "persistentvolumeclaims"}, false
	case strings.HasSuffix(text, ".deviceclass.resource.k8s.io/devices"):
		return schema.GroupResource{Group: "resource.k8s.io", Resource: "resourceclaims"}, false
	}
	switch name {
	case corev1.ResourceServices, corev1.ResourceReplicationControllers, corev1.ResourceQuotas, corev1.ResourceSecrets,
		corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourcePods:
		return schema.GroupResource{Resource: text}, true
	}
	return schema.GroupResource{Resource: "pods"}, false
}
