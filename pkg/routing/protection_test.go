package routing

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

func TestTheFirstRuleThatMatchesProtects(t *testing.T) {
	ring := ringOf(layout("cell-a"), layout("cell-a"), nil)
	ring.Spec.Protection = []v1alpha1.ProtectionRule{
		{Namespaces: []string{"bank"}, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}, Policy: v1alpha1.ProtectionStrict},
		{Namespaces: []string{"bank", "shop"}},
	}
	s, err := FromRing(ring)
	if err != nil {
		t.Fatal(err)
	}
	gold := map[string]string{"tier": "gold"}
	for namespace, want := range map[string]v1alpha1.ProtectionPolicy{
		"bank": v1alpha1.ProtectionStrict, "shop": v1alpha1.ProtectionDegrade, "zoo": "",
	} {
		if got := s.Protection.Strictest(namespace); got != want {
			t.Errorf("%s, labels that nobody knows: policy %q; want %q", namespace, got, want)
		}
	}
	for _, test := range []struct {
		namespace string
		labels    map[string]string
		want      v1alpha1.ProtectionPolicy
	}{
		{"bank", gold, v1alpha1.ProtectionStrict},
		{"bank", nil, v1alpha1.ProtectionDegrade},
		{"shop", gold, v1alpha1.ProtectionDegrade},
		{"zoo", gold, ""},
	} {
		if got := s.Protection.Of(test.namespace, test.labels); got != test.want {
			t.Errorf("%s %v: policy %q; want %q", test.namespace, test.labels, got, test.want)
		}
	}
	if !s.Protection.May("shop") || s.Protection.May("zoo") {
		t.Error("what may be protected is not what the rules name")
	}
	// No rule counts behind one for all of the namespace.
	slices.Reverse(ring.Spec.Protection)
	if s, err = Successor(s, ring); err != nil || s.Protection.Strictest("bank") != v1alpha1.ProtectionDegrade {
		t.Errorf("behind a rule for the whole namespace: %v, %v", s, err)
	}
	// A rule that comes later is followed; one that makes no sense protects too much, and holds up no ring.
	ring.Spec.Protection = []v1alpha1.ProtectionRule{{Selector: &metav1.LabelSelector{}}}
	if s, err = Successor(s, ring); err != nil || !s.Protection.May("zoo") {
		t.Errorf("an empty selector protects everything: %v", err)
	}
	ring.Spec.Protection = []v1alpha1.ProtectionRule{{Selector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Perhaps"}},
	}}}
	if s, err = Successor(s, ring); err != nil || s.Protection.Of("zoo", nil) != v1alpha1.ProtectionDegrade {
		t.Errorf("a selector that makes no sense: %v, %v", s, err)
	}
}
