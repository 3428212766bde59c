package placement

import (
	"encoding/json"
	"testing"
)

func TestKeyRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule            KeyRule
		namespace, name string
		want            string
	}{
		{NamespacedName, "payments", "checkout", "payments/checkout"},
		{NamespacedName, "", "node-1", "node-1"},
		{Name, "payments", "checkout", "checkout"},
		{Name, "", "node-1", "node-1"},
		{Namespace, "payments", "checkout", "payments"},
		{Namespace, "", "payments", "payments"},
	} {
		if got := test.rule.Key(test.namespace, test.name); got != test.want {
			t.Errorf("%v key of %q, %q is %q, want %q", test.rule, test.namespace, test.name, got, test.want)
		}
	}
}

func TestKeyRuleText(t *testing.T) {
	t.Parallel()
	for _, rule := range []KeyRule{NamespacedName, Name, Namespace} {
		data, err := json.Marshal(rule)
		if err != nil || string(data) != `"`+rule.String()+`"` {
			t.Errorf("%v is written as %s, %v", rule, data, err)
		}
		var back KeyRule
		if err := json.Unmarshal(data, &back); err != nil || back != rule {
			t.Errorf("%v is read as %v, %v", rule, back, err)
		}
	}
	if rule, err := ParseKeyRule(""); err != nil || rule != NamespacedName {
		t.Errorf("the default is %v, %v", rule, err)
	}
	rule := Name
	if err := rule.UnmarshalText([]byte("Label")); err == nil || rule != Name {
		t.Errorf("Label is read as %v, %v", rule, err)
	}
	if s := KeyRule(9).String(); s != "KeyRule(9)" {
		t.Error(s)
	}
}

// FuzzKeyRules: objects in one unit under a rule stay in one unit, and names that Kubernetes
// allows never run into each other.
func FuzzKeyRules(f *testing.F) {
	f.Add("payments", "checkout", "search", "index")
	f.Add("", "a", "a", "")
	f.Add("a", "b/c", "a/b", "c")
	f.Fuzz(func(t *testing.T, namespace, name, otherNamespace, otherName string) {
		if NamespacedName.Key("", name) != name || Name.Key(namespace, name) != name {
			t.Fatalf("%q, %q", namespace, name)
		}
		if namespace != "" && Namespace.Key(namespace, name) != Namespace.Key(namespace, otherName) {
			t.Fatalf("namespace %q is not one unit", namespace)
		}
		same := namespace == otherNamespace && name == otherName
		valid := namespace == "" || nameLike(namespace) && otherNamespace != "" && nameLike(otherNamespace)
		if valid && !same && namespace != "" && nameLike("x"+name) && nameLike("x"+otherName) &&
			NamespacedName.Key(namespace, name) == NamespacedName.Key(otherNamespace, otherName) {
			t.Fatalf("%s/%s and %s/%s have one key", namespace, name, otherNamespace, otherName)
		}
	})
}
