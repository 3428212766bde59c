package placement

import "testing"

// TestOfWhatEachCellMakesOneCounts: the Endpoints of the apiserver's own Service in the cell of that Service.
func TestOfWhatEachCellMakesOneCounts(t *testing.T) {
	t.Parallel()
	const slices = "discovery.k8s.io"
	byDefault := mustClasses(t)
	overridden := mustClasses(t, Rule{Resource: "services", Class: Sharded, Key: Name}, Rule{Resource: "configmaps", Class: Local})
	for _, test := range []struct {
		classes                          *Classes
		group, resource, namespace, name string
		class                            Class
		key                              KeyRule
	}{
		{byDefault, "", "services", "default", "kubernetes", Sharded, NamespacedName},
		{byDefault, "", "endpoints", "default", "kubernetes", Sharded, NamespacedName},
		{byDefault, slices, "endpointslices", "default", "kubernetes", Sharded, NamespacedName},
		{byDefault, "", "configmaps", "ns", "kube-root-ca.crt", Sharded, NamespacedName},
		{overridden, "", "endpoints", "default", "kubernetes", Sharded, Name},
		{overridden, slices, "endpointslices", "default", "kubernetes", Sharded, Name},
		{overridden, "", "configmaps", "ns", "kube-root-ca.crt", Sharded, Name},

		{byDefault, "", "endpoints", "default", "", Local, NamespacedName},
		{byDefault, "", "endpoints", "", "kubernetes", Local, NamespacedName},
		{byDefault, "", "endpoints", "default", "web", Local, NamespacedName},
		{byDefault, "", "endpoints", "ns", "kubernetes", Local, NamespacedName},
		{byDefault, slices, "endpointslices", "default", "kubernetes-x7k2p", Local, NamespacedName},
		{byDefault, "", "pods", "default", "kubernetes", Local, NamespacedName},
		{byDefault, "", "configmaps", "kube-system", "kube-root-ca.crt", Global, NamespacedName},
		{byDefault, "example.com", "endpoints", "default", "kubernetes", Global, NamespacedName},
	} {
		class, key := test.classes.OfObject(test.group, test.resource, test.namespace, test.name)
		if class != test.class || key != test.key {
			t.Errorf("%s %q of %q in %q: %s by %s; want %s by %s", test.resource, test.name, test.group, test.namespace, class, key, test.class, test.key)
		}
	}
}
