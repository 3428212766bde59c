package placement

import (
	"fmt"
	"strings"
)

// AnyResource in Rule.Resource means every resource of the group.
const AnyResource = "*"

// Rule gives the objects of one resource, or of a whole group, their class and key.
type Rule struct {
	// Group is the API group, "" for the core group.
	Group string `json:"group"`
	// Resource is the plural resource name, or AnyResource.
	Resource string `json:"resource"`
	Class    Class  `json:"class"`
	// Key counts for Sharded objects, and for Local ones that a client creates.
	Key KeyRule `json:"key"`
}

// RuleError says why a rule is refused. It is the user's to correct.
type RuleError struct {
	Rule Rule
	// Problem says what is wrong and what is allowed.
	Problem string
}

// Error names the rule and the problem.
func (e *RuleError) Error() string {
	return fmt.Sprintf("resource rule %q in group %q: %s", clip(e.Rule.Resource), clip(e.Rule.Group), e.Problem)
}

// Classes is the table of resource classes. It never changes and is safe for concurrent use.
//
// The first of these that fits decides: a namespace of the system (SystemNamespace), an override
// for the resource, an override for its group, a default for the resource, a default for its
// group, Global.
type Classes struct {
	rules  map[groupResource]verdict
	groups map[string]verdict // overrides and defaults for whole groups
}

type groupResource struct{ group, resource string }

type verdict struct {
	class Class
	key   KeyRule
}

// NewClasses builds the table from the defaults and the overrides of Ring.spec.resources. Two
// different rules for the same resource contradict each other and are refused with a *RuleError,
// as are rules that would break the cells themselves; saying the same twice is fine.
func NewClasses(overrides []Rule) (*Classes, error) {
	c := &Classes{rules: map[groupResource]verdict{}, groups: map[string]verdict{}}
	for _, r := range overrides {
		if problem := r.problem(); problem != "" {
			return nil, &RuleError{Rule: r, Problem: problem}
		}
		if old, exists := c.override(r); exists && old != r.verdict() {
			return nil, &RuleError{Rule: r, Problem: fmt.Sprintf(
				"an earlier rule says %s with key %s, this one says %s with key %s; keep one of them",
				old.class, old.key, r.Class, r.Key)}
		}
		c.add(r)
	}
	overridden := make(map[string]bool, len(c.groups))
	for group := range c.groups {
		overridden[group] = true
	}
	for _, r := range append(DefaultRules(), protectedRules()...) {
		// An override for a whole group hides the group's defaults, except the protected ones.
		if _, exists := c.override(r); !exists && (!overridden[r.Group] || r.protected()) {
			c.add(r)
		}
	}
	return c, nil
}

// Of says where the objects of a resource in a namespace live ("" for cluster-scoped ones, and
// for requests over all namespaces), and which string of them is hashed. A subresource
// ("deployments/status") goes with its resource. It does not allocate.
//
// An answer for namespace "" describes all namespaces but those of the system: a list over all
// namespaces has to ask the RCP for these.
func (c *Classes) Of(group, resource, namespace string) (Class, KeyRule) {
	resource, _, _ = strings.Cut(resource, "/")
	// The request for a Namespace object carries its name as the namespace, but kube-system
	// itself has to exist in every cell.
	if SystemNamespace(namespace) && !isNamespaces(group, resource) {
		return Global, NamespacedName
	}
	if v, ok := c.rules[groupResource{group, resource}]; ok {
		return v.class, v.key
	}
	if v, ok := c.groups[group]; ok {
		return v.class, v.key
	}
	return Global, NamespacedName
}

// SystemNamespace says whether all objects in the namespace are Global, whatever their resource:
// leases, envelopes and the system's own configuration have one truth.
func SystemNamespace(namespace string) bool {
	return namespace == "kube-system" || namespace == "kubecell-system"
}

func isNamespaces(group, resource string) bool { return group == "" && resource == "namespaces" }

func (c *Classes) add(r Rule) {
	if r.Resource == AnyResource {
		c.groups[r.Group] = r.verdict()
		return
	}
	c.rules[groupResource{r.Group, r.Resource}] = r.verdict()
}

func (c *Classes) override(r Rule) (verdict, bool) {
	if r.Resource == AnyResource {
		v, ok := c.groups[r.Group]
		return v, ok
	}
	v, ok := c.rules[groupResource{r.Group, r.Resource}]
	return v, ok
}

func (r Rule) verdict() verdict { return verdict{class: r.Class, key: r.Key} }

// protected says whether the rule speaks of resources whose class nobody may change.
func (r Rule) protected() bool {
	for _, p := range protectedRules() {
		if p.Group == r.Group && (p.Resource == r.Resource || p.Resource == AnyResource) {
			return true
		}
	}
	return false
}

// problem says why the rule is refused by itself, "" if it is not.
func (r Rule) problem() string {
	switch {
	case r.Resource == "":
		return `the resource is empty; name it in the plural, or "*" for the whole group`
	case r.Resource != AnyResource && !nameLike(r.Resource):
		return `a resource is a plural in lower case like "deployments", without subresource, or "*"`
	case r.Group != "" && !nameLike(r.Group):
		return `a group is a DNS name like "apps" or "networking.k8s.io", or empty for the core group`
	case r.Class < Global || r.Class > Replicated:
		return "the class must be Sharded, Dependent, Local, Replicated or Global"
	case r.Key > Namespace:
		return "the key must be NamespacedName, Name or Namespace"
	case r.Key != NamespacedName && r.Class != Sharded && r.Class != Local:
		return fmt.Sprintf("a key of %s has no meaning for class %s; only Sharded and Local objects are hashed", r.Key, r.Class)
	case r.Group == "" && r.Resource == AnyResource:
		return "the core group has namespaces, pods and secrets in it, which cannot share a class; name the resources"
	}
	for _, p := range protectedRules() {
		if r.protected() && p.Group == r.Group && p.Class != r.Class {
			return fmt.Sprintf("the class must stay %s: without it no cell can work", p.Class)
		}
	}
	return ""
}

// nameLike says whether s has only the characters of a DNS name.
func nameLike(s string) bool {
	if len(s) > 253 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return s[0] != '.' && s[len(s)-1] != '.'
}
