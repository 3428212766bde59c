package placement

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func mustClasses(tb testing.TB, overrides ...Rule) *Classes {
	tb.Helper()
	c, err := NewClasses(overrides)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestDefaultClasses(t *testing.T) {
	t.Parallel()
	c := mustClasses(t)
	for _, test := range []struct {
		group, resources, namespace string
		want                        Class
	}{
		{"apps", "deployments deployments/status deployments/scale statefulsets daemonsets", "ns", Sharded},
		{"batch", "jobs cronjobs", "ns", Sharded},
		{"", "configmaps secrets services replicationcontrollers persistentvolumeclaims podtemplates", "ns", Sharded},
		{"autoscaling", "horizontalpodautoscalers", "ns", Sharded},
		{"networking.k8s.io", "ingresses networkpolicies", "ns", Sharded},
		{"policy", "poddisruptionbudgets", "ns", Sharded},
		{"types.kubeadmiral.io", "federateddeployments federatedanything", "ns", Sharded},
		{"", "events pods pods/log pods/exec endpoints", "ns", Local},
		{"events.k8s.io", "events", "ns", Local},
		{"apps", "replicasets controllerrevisions", "ns", Local},
		{"discovery.k8s.io", "endpointslices", "ns", Local},
		{"", "namespaces namespaces/status namespaces/finalize", "", Replicated},
		{"", "serviceaccounts serviceaccounts/token resourcequotas limitranges", "ns", Replicated},
		{"apiextensions.k8s.io", "customresourcedefinitions", "", Replicated},
		{"rbac.authorization.k8s.io", "roles rolebindings", "ns", Replicated},
		{"rbac.authorization.k8s.io", "clusterroles clusterrolebindings", "", Replicated},
		{"scheduling.k8s.io", "priorityclasses", "", Replicated},
		{"core.kubeadmiral.io", "propagationpolicies overridepolicies", "ns", Replicated},
		{"core.kubeadmiral.io", "clusterpropagationpolicies clusteroverridepolicies", "", Replicated},
		{"core.kubeadmiral.io", "federatedobjects", "ns", Dependent},
		{"policy.karmada.io", "propagationpolicies clusterpropagationpolicies", "", Replicated},
		{"work.karmada.io", "resourcebindings", "ns", Dependent},
		{"work.karmada.io", "works", "ns", Local},
		{"", "nodes persistentvolumes", "", Global},
		{"coordination.k8s.io", "leases", "ns", Global},
		{"kubecell.io", "rings cells rebalances", "", Global},
		{"example.com", "widgets", "ns", Global},
		{"admissionregistration.k8s.io", "validatingadmissionpolicies", "", Replicated},
		{"storage.k8s.io", "csidrivers", "", Global},

		// Everything in the system's namespaces, but not these namespaces themselves, whose
		// requests name them as their namespace.
		{"apps", "deployments deployments/scale", "kube-system", Global},
		{"", "secrets pods serviceaccounts", "kubecell-system", Global},
		{"rbac.authorization.k8s.io", "roles", "kube-system", Global},
		{"", "namespaces namespaces/status", "kube-system", Replicated},
		{"", "namespaces", "kubecell-system", Replicated},
		{"example.com", "namespaces", "kube-system", Global},
	} {
		for resource := range strings.FieldsSeq(test.resources) {
			if got, key := c.Of(test.group, resource, test.namespace); got != test.want || key != NamespacedName {
				t.Errorf("%s in group %q, namespace %q: %v %v, want %v", resource, test.group, test.namespace, got, key, test.want)
			}
		}
	}
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	c := mustClasses(t,
		Rule{"example.com", AnyResource, Sharded, Name},
		Rule{"example.com", "configs", Replicated, NamespacedName},
		Rule{"apps", "deployments", Sharded, Namespace},
		Rule{"batch", AnyResource, Global, NamespacedName},
		Rule{"batch", AnyResource, Global, NamespacedName}, // the same twice is no contradiction
		Rule{"apiextensions.k8s.io", AnyResource, Global, NamespacedName},
	)
	for _, test := range []struct {
		group, resource, namespace string
		class                      Class
		key                        KeyRule
	}{
		{"example.com", "widgets", "ns", Sharded, Name},
		{"example.com", "configs", "ns", Replicated, NamespacedName},
		{"apps", "deployments/scale", "ns", Sharded, Namespace},
		{"apps", "statefulsets", "ns", Sharded, NamespacedName},
		{"batch", "jobs", "ns", Global, NamespacedName},
		{"apps", "deployments", "kube-system", Global, NamespacedName},
		{"example.com", "widgets", "kubecell-system", Global, NamespacedName},
		{"apiextensions.k8s.io", "customresourcedefinitions", "", Replicated, NamespacedName},
	} {
		if class, key := c.Of(test.group, test.resource, test.namespace); class != test.class || key != test.key {
			t.Errorf("%s.%s in %q: %v %v, want %v %v", test.resource, test.group, test.namespace, class, key, test.class, test.key)
		}
	}
}

func TestRulesRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rules   []Rule
		message string
	}{
		"contradiction":    {[]Rule{{"a.io", "x", Sharded, Name}, {"a.io", "x", Local, 0}}, `resource rule "x" in group "a.io": an earlier rule says Sharded with key Name, this one says Local with key NamespacedName`},
		"keys contradict":  {[]Rule{{"a.io", "x", Sharded, Name}, {"a.io", "x", Sharded, 0}}, "keep one of them"},
		"groups":           {[]Rule{{"a.io", "*", Sharded, 0}, {"a.io", "*", Global, 0}}, "keep one of them"},
		"no resource":      {[]Rule{{"a.io", "", Sharded, 0}}, "the resource is empty"},
		"kind":             {[]Rule{{"apps", "Deployment", Sharded, 0}}, "a resource is a plural in lower case"},
		"subresource":      {[]Rule{{"apps", "deployments/scale", Sharded, 0}}, "without subresource"},
		"group version":    {[]Rule{{"apps/v1", "deployments", Sharded, 0}}, "a group is a DNS name"},
		"no class":         {[]Rule{{"apps", "deployments", 0, 0}}, "the class must be"},
		"class":            {[]Rule{{"apps", "deployments", 17, 0}}, "the class must be"},
		"key":              {[]Rule{{"apps", "deployments", Sharded, 17}}, "the key must be"},
		"key without hash": {[]Rule{{"a.io", "x", Replicated, Name}}, "has no meaning for class Replicated"},
		"core group":       {[]Rule{{"", "*", Sharded, 0}}, "name the resources"},
		"namespaces":       {[]Rule{{"", "namespaces", Sharded, 0}}, "the class must stay Replicated"},
		"our own":          {[]Rule{{"kubecell.io", "rings", Replicated, 0}}, "the class must stay Global"},
		"our own group":    {[]Rule{{"kubecell.io", "*", Sharded, 0}}, "the class must stay Global"},
		"long":             {[]Rule{{"a.io", strings.Repeat("x", 1<<20), Sharded, 0}}, "a resource is"},
	} {
		c, err := NewClasses(test.rules)
		var refused *RuleError
		if c != nil || !errors.As(err, &refused) || !strings.Contains(err.Error(), test.message) || len(err.Error()) > 500 {
			t.Errorf("%s: %v, want an error that says %q", name, err, test.message)
			continue
		}
		if refused.Rule != test.rules[len(test.rules)-1] {
			t.Errorf("%s: blames %v", name, refused.Rule)
		}
	}
}

// TestDefaultRulesAreSound: they would be accepted from a user, and name nothing twice.
func TestDefaultRulesAreSound(t *testing.T) {
	t.Parallel()
	seen := map[groupResource]bool{}
	for _, r := range DefaultRules() {
		if problem := r.problem(); problem != "" {
			t.Errorf("%v: %s", r, problem)
		}
		if at := (groupResource{r.Group, r.Resource}); seen[at] {
			t.Errorf("%v comes twice", at)
		} else {
			seen[at] = true
		}
	}
	mustClasses(t, DefaultRules()...)
}

func TestClassText(t *testing.T) {
	t.Parallel()
	for c := Global; c <= Replicated; c++ {
		data, err := json.Marshal(c)
		if err != nil || string(data) != `"`+c.String()+`"` {
			t.Errorf("%v is written as %s, %v", c, data, err)
		}
		var back Class
		if err := json.Unmarshal(data, &back); err != nil || back != c {
			t.Errorf("%v is read as %v, %v", c, back, err)
		}
	}
	for _, text := range []string{"", "sharded", "Class(0)"} {
		if c, err := ParseClass(text); err == nil || !strings.Contains(err.Error(), "must be Sharded, Dependent, Local, Replicated or Global") {
			t.Errorf("%q is read as %v, %v", text, c, err)
		}
	}
	var c Class
	if c.UnmarshalText([]byte("x")) == nil || c.String() != "Class(0)" {
		t.Error(c)
	}
}

// FuzzClasses: whatever the overrides, an accepted table answers with a class, treats a
// subresource like its resource, keeps the system's namespaces Global and namespaces Replicated.
func FuzzClasses(f *testing.F) {
	f.Add("apps", "deployments", "ns", uint64(1))
	f.Add("", "namespaces", "kube-system", uint64(2))
	f.Add("kubecell.io", "rings", "", uint64(3))
	f.Fuzz(func(t *testing.T, group, resource, namespace string, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 0))
		overrides := []Rule{{group, resource, Class(rng.UintN(7)), KeyRule(rng.UintN(4))}, {group, AnyResource, Class(rng.UintN(7)), 0}}
		c, err := NewClasses(overrides[rng.IntN(2):])
		if err != nil {
			c = mustClasses(t)
		}
		class, key := c.Of(group, resource, namespace)
		sub, subKey := c.Of(group, resource+"/status", namespace)
		if class < Global || class > Replicated || key > Namespace || class != sub || key != subKey {
			t.Fatalf("%v %v, status %v %v", class, key, sub, subKey)
		}
		if got, _ := c.Of("", "namespaces", namespace); got != Replicated {
			t.Fatalf("namespaces are %v", got)
		}
		if got, _ := c.Of("kubecell.io", resource, namespace); got != Global {
			t.Fatalf("our own %s is %v", resource, got)
		}
		if got, _ := c.Of(group, "secrets", "kubecell-system"); got != Global {
			t.Fatalf("a system secret is %v", got)
		}
	})
}
