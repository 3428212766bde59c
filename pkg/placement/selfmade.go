package placement

// SelfMade names the sharded objects of a resource that every control plane makes for itself in a namespace: the
// root CA, and the apiserver's own Service. They are in each cell, and say what is true there: nobody moves them,
// and no workload is counted for them.
func SelfMade(group, resource, namespace string) []string {
	switch {
	case group == "" && resource == "configmaps":
		return []string{"kube-root-ca.crt"}
	case group == "" && resource == "services" && namespace == "default":
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
