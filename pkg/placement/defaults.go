package placement

import "slices"

// DefaultRules are the classes of the resources that Kubernetes, KubeAdmiral and Karmada are
// known to have. What they do not name is Global. The slice is the caller's.
func DefaultRules() []Rule {
	return slices.Concat(kubernetesRules(), kubeAdmiralRules(), karmadaRules())
}

// kubernetesRules covers the groups of a plain kube-apiserver.
func kubernetesRules() []Rule {
	return slices.Concat(
		rules("apps", Sharded, "deployments", "statefulsets", "daemonsets"),
		rules("batch", Sharded, "jobs", "cronjobs"),
		rules("", Sharded, "configmaps", "secrets", "services", "replicationcontrollers",
			"persistentvolumeclaims", "podtemplates"),
		rules("autoscaling", Sharded, "horizontalpodautoscalers"),
		rules("networking.k8s.io", Sharded, "ingresses", "networkpolicies"),
		rules("policy", Sharded, "poddisruptionbudgets"),

		rules("", Local, "events", "pods", "endpoints"),
		rules("events.k8s.io", Local, "events"),
		rules("apps", Local, "replicasets", "controllerrevisions"),
		rules("discovery.k8s.io", Local, "endpointslices"),

		rules("", Replicated, "namespaces", "serviceaccounts", "resourcequotas", "limitranges"),
		rules("apiextensions.k8s.io", Replicated, "customresourcedefinitions"),
		rules("rbac.authorization.k8s.io", Replicated, "roles", "rolebindings", "clusterroles",
			"clusterrolebindings"),
		rules("scheduling.k8s.io", Replicated, "priorityclasses"),

		// Admission happens in the cell that stores an object, by what is there.
		rules("admissionregistration.k8s.io", Replicated, "validatingadmissionpolicies",
			"validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
			"validatingwebhookconfigurations", "mutatingwebhookconfigurations"),
		rules("node.k8s.io", Replicated, "runtimeclasses"),
		rules("storage.k8s.io", Replicated, "storageclasses", "volumeattributesclasses"),
		rules("networking.k8s.io", Replicated, "ingressclasses"),
	)
}

// kubeAdmiralRules covers KubeAdmiral.
//
// Its older federated kinds (types.kubeadmiral.io, one per source kind) are named like their
// source, so they have its key. A FederatedObject is named "<source>-<type>" and so has another
// key; it carries a controller reference to its source, as do the objects made for it in turn:
// these are Dependent. The cluster-scoped ones come from Replicated sources, so that every cell
// makes its own.
func kubeAdmiralRules() []Rule {
	const core = "core.kubeadmiral.io"
	return slices.Concat(
		rules("types.kubeadmiral.io", Sharded, AnyResource),
		rules(core, Dependent, "federatedobjects", "propagatedversions", "collectedstatuses"),
		rules(core, Local, "clusterfederatedobjects", "clusterpropagatedversions",
			"clustercollectedstatuses"),
		rules(core, Replicated, "propagationpolicies", "clusterpropagationpolicies",
			"overridepolicies", "clusteroverridepolicies", "schedulingprofiles",
			"federatedtypeconfigs", "schedulerpluginwebhookconfigurations"),
	)
}

// karmadaRules covers Karmada.
//
// A ResourceBinding has a controller reference to the object that it binds. A Work lies in the
// execution namespace of a member cluster and has no owner reference; the cell that owns the
// binding makes it, and makes it again elsewhere after a move.
func karmadaRules() []Rule {
	return slices.Concat(
		rules("work.karmada.io", Dependent, "resourcebindings"),
		rules("work.karmada.io", Local, "clusterresourcebindings", "works"),
		rules("policy.karmada.io", Replicated, "propagationpolicies", "clusterpropagationpolicies",
			"overridepolicies", "clusteroverridepolicies", "federatedresourcequotas",
			"clustertaintpolicies"),
		rules("config.karmada.io", Replicated, "resourceinterpretercustomizations",
			"resourceinterpreterwebhookconfigurations"),
		rules("autoscaling.karmada.io", Sharded, "federatedhpas", "cronfederatedhpas"),
		rules("networking.karmada.io", Sharded, "multiclusteringresses", "multiclusterservices"),
		rules("multicluster.x-k8s.io", Sharded, "serviceexports", "serviceimports"),
	)
}

// protectedRules are the classes without which no cell can work: a namespace or a kind that is
// missing in a cell makes it refuse objects, and Ring and Cell say how to find everything else.
func protectedRules() []Rule {
	return slices.Concat(
		rules("", Replicated, "namespaces"),
		rules("apiextensions.k8s.io", Replicated, "customresourcedefinitions"),
		rules("kubecell.io", Global, AnyResource),
	)
}

// rules gives several resources of a group one class and the default key.
func rules(group string, class Class, resources ...string) []Rule {
	out := make([]Rule, 0, len(resources))
	for _, resource := range resources {
		out = append(out, Rule{Group: group, Resource: resource, Class: class})
	}
	return out
}
