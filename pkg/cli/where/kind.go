package where

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is a resource that a name may be prefixed with.
type kind struct {
	schema.GroupResource
	// clusterScoped kinds have no namespace.
	clusterScoped bool
}

// kinds finds resources by the words that people write for them, in lower case: plural, singular
// and short names, each alone and with its group ("deployment.apps").
type kinds map[string]kind

// builtinKinds are the resources that every control plane has. They are in a table so that a lookup
// needs one request, for the ring, and none for discovery.
func builtinKinds() kinds {
	out := kinds{}
	out.add("", false, "configmaps configmap cm", "secrets secret", "services service svc",
		"replicationcontrollers replicationcontroller rc", "persistentvolumeclaims persistentvolumeclaim pvc",
		"podtemplates podtemplate", "pods pod po", "events event ev", "endpoints ep",
		"serviceaccounts serviceaccount sa", "resourcequotas resourcequota quota", "limitranges limitrange limits")
	out.add("", true, "namespaces namespace ns", "nodes node no", "persistentvolumes persistentvolume pv")
	out.add("apps", false, "deployments deployment deploy", "statefulsets statefulset sts",
		"daemonsets daemonset ds", "replicasets replicaset rs", "controllerrevisions controllerrevision")
	out.add("batch", false, "jobs job", "cronjobs cronjob cj")
	out.add("autoscaling", false, "horizontalpodautoscalers horizontalpodautoscaler hpa")
	out.add("networking.k8s.io", false, "ingresses ingress ing", "networkpolicies networkpolicy netpol")
	out.add("policy", false, "poddisruptionbudgets poddisruptionbudget pdb")
	out.add("discovery.k8s.io", false, "endpointslices endpointslice")
	out.add("coordination.k8s.io", false, "leases lease")
	out.add("apiextensions.k8s.io", true, "customresourcedefinitions customresourcedefinition crd crds")
	out.add("rbac.authorization.k8s.io", false, "roles role", "rolebindings rolebinding")
	out.add("rbac.authorization.k8s.io", true, "clusterroles clusterrole", "clusterrolebindings clusterrolebinding")
	out.add("scheduling.k8s.io", true, "priorityclasses priorityclass pc")
	out.add("storage.k8s.io", true, "storageclasses storageclass sc")
	out.add("kubecell.io", true, "rings ring kcring", "cells cell kccell", "rebalances rebalance", "failovers failover")
	return out
}

// add enters resources, each as its words with the plural first.
func (k kinds) add(group string, clusterScoped bool, resources ...string) {
	for _, resource := range resources {
		words := strings.Fields(resource)
		entry := kind{GroupResource: schema.GroupResource{Group: group, Resource: words[0]}, clusterScoped: clusterScoped}
		for _, word := range words {
			k[word] = entry
			if group != "" {
				k[word+"."+group] = entry
			}
		}
	}
}

// find looks a word up; the case of letters does not count, so that "Deployment" is found.
func (k kinds) find(word string) (kind, bool) {
	found, ok := k[strings.ToLower(word)]
	return found, ok
}
