// Package kinds knows the words that people write for the resources which every control plane has: plural, singular and
// short names, as kubectl takes them. It asks no server; what is not in its table somebody else has to find.
package kinds

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is a resource that a name may be prefixed with.
type Kind struct {
	schema.GroupResource
	// ClusterScoped kinds have no namespace.
	ClusterScoped bool
}

// Table finds resources by the words that people write for them, in lower case: plural, singular and short names, each alone
// and with its group ("deployment.apps").
type Table map[string]Kind

// Builtin are the resources that every control plane has. They are in a table so that a lookup needs no discovery.
func Builtin() Table {
	out := Table{}
	out.Add("", false, "configmaps configmap cm", "secrets secret", "services service svc",
		"replicationcontrollers replicationcontroller rc", "persistentvolumeclaims persistentvolumeclaim pvc",
		"podtemplates podtemplate", "pods pod po", "events event ev", "endpoints ep",
		"serviceaccounts serviceaccount sa", "resourcequotas resourcequota quota", "limitranges limitrange limits")
	out.Add("", true, "namespaces namespace ns", "nodes node no", "persistentvolumes persistentvolume pv")
	out.Add("apps", false, "deployments deployment deploy", "statefulsets statefulset sts",
		"daemonsets daemonset ds", "replicasets replicaset rs", "controllerrevisions controllerrevision")
	out.Add("batch", false, "jobs job", "cronjobs cronjob cj")
	out.Add("autoscaling", false, "horizontalpodautoscalers horizontalpodautoscaler hpa")
	out.Add("networking.k8s.io", false, "ingresses ingress ing", "networkpolicies networkpolicy netpol")
	out.Add("policy", false, "poddisruptionbudgets poddisruptionbudget pdb")
	out.Add("discovery.k8s.io", false, "endpointslices endpointslice")
	out.Add("coordination.k8s.io", false, "leases lease")
	out.Add("apiextensions.k8s.io", true, "customresourcedefinitions customresourcedefinition crd crds")
	out.Add("rbac.authorization.k8s.io", false, "roles role", "rolebindings rolebinding")
	out.Add("rbac.authorization.k8s.io", true, "clusterroles clusterrole", "clusterrolebindings clusterrolebinding")
	out.Add("scheduling.k8s.io", true, "priorityclasses priorityclass pc")
	out.Add("storage.k8s.io", true, "storageclasses storageclass sc")
	out.Add("kubecell.io", true, "rings ring kcring", "cells cell kccell", "rebalances rebalance", "failovers failover")
	return out
}

// Add enters resources, each as its words with the plural first.
func (t Table) Add(group string, clusterScoped bool, resources ...string) {
	for _, resource := range resources {
		words := strings.Fields(resource)
		entry := Kind{GroupResource: schema.GroupResource{Group: group, Resource: words[0]}, ClusterScoped: clusterScoped}
		for _, word := range words {
			t[word] = entry
			if group != "" {
				t[word+"."+group] = entry
			}
		}
	}
}

// Find looks a word up; the case of letters does not count, so that "Deployment" is found.
func (t Table) Find(word string) (Kind, bool) {
	found, ok := t[strings.ToLower(word)]
	return found, ok
}

// Same says whether a kind, as objects say it, is the one that somebody wrote with or without its group. Of a kind that is
// not in the table its name is known, and how plurals are made.
func (t Table) Same(kind schema.GroupKind, written string) bool {
	word, group, _ := strings.Cut(strings.ToLower(written), ".")
	if group != "" && kind.Group != "" && !strings.HasSuffix("."+group, "."+kind.Group) { // a version may be before it
		return false
	}
	name := strings.ToLower(kind.Kind)
	meant, known := t.Find(written)
	if own, ok := t.ofKind(name, kind.Group); known && ok {
		return own == meant
	}
	return slices.Contains([]string{name, name + "s", name + "es", strings.TrimSuffix(name, "y") + "ies"}, word)
}

// ofKind is the resource of a kind; one whose group is not said may be that of any group.
func (t Table) ofKind(name, group string) (Kind, bool) {
	if group != "" {
		name += "." + group
	}
	return t.Find(name)
}
