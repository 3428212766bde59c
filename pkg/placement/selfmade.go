package placement

// SelfMade names the objects of a resource that every control plane makes for itself in a namespace: the root CA, and
// the apiserver's own Service with its Endpoints and its EndpointSlice. They are in each cell, and say what is true
// there: nobody moves them, and no workload is counted for them.
func SelfMade(group, resource, namespace string) []string {
	switch {
	case group == "" && resource == "configmaps":
		return []string{"kube-root-ca.crt"}
	case namespace != "default":
		return nil
	case group == "" && (resource == "services" || resource == "endpoints"), group == "discovery.k8s.io" && resource == "endpointslices":
		return []string{"kubernetes"}
	}
	return nil
}

// IsSelfMade says whether an object is one of those.
func IsSelfMade(group, resource, namespace, name string) bool {
	for _, made := range SelfMade(group, resource, namespace) {
		if made == name {
			return true
		}
	}
	return false
}

// OfObject is Of for one object: [Classes.Of] says where the objects of a resource live, and of what every control
// plane makes for itself that may be in any cell. Of that each cell has its own under one name, and one of them counts,
// as of a Sharded object: that in the cell whose Service of the name counts. Without a name it is Of.
func (c *Classes) OfObject(group, resource, namespace, name string) (Class, KeyRule) {
	class, key := c.Of(group, resource, namespace)
	if (class == Local || class == Dependent) && IsSelfMade(group, resource, namespace, name) {
		_, key = c.Of("", "services", namespace)
		return Sharded, key
	}
	return class, key
}
