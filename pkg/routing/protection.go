package routing

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Protection are the rules by which writes are answered only once their envelopes are stored. The zero value protects
// nothing.
type Protection struct{ rules []protectionRule }

type protectionRule struct {
	namespaces []string // all where empty
	selector   labels.Selector
	policy     v1alpha1.ProtectionPolicy
}

// protectionOf takes a selector that makes no sense for one of everything: to protect too much costs time, too little
// costs data, and to refuse the ring would hold up whatever else is in it.
func protectionOf(rules []v1alpha1.ProtectionRule) Protection {
	var out Protection
	for _, r := range rules {
		rule := protectionRule{namespaces: r.Namespaces, selector: labels.Everything(), policy: r.Policy}
		if rule.policy == "" {
			rule.policy = v1alpha1.ProtectionDegrade
		}
		if r.Selector != nil {
			if selector, err := metav1.LabelSelectorAsSelector(r.Selector); err == nil {
				rule.selector = selector
			}
		}
		out.rules = append(out.rules, rule)
	}
	return out
}

// Of is the policy for an object, "" where it is not protected. The first rule that matches counts.
func (p Protection) Of(namespace string, of map[string]string) v1alpha1.ProtectionPolicy {
	for _, rule := range p.rules {
		if rule.in(namespace) && rule.selector.Matches(labels.Set(of)) {
			return rule.policy
		}
	}
	return ""
}

// Strictest is the strictest policy that an object in a namespace may have: that of one whose labels nobody knows. Rules
// that come after one for the whole namespace are never asked.
func (p Protection) Strictest(namespace string) v1alpha1.ProtectionPolicy {
	var strictest v1alpha1.ProtectionPolicy
	for _, rule := range p.rules {
		if !rule.in(namespace) {
			continue
		}
		if strictest == "" || rule.policy == v1alpha1.ProtectionStrict {
			strictest = rule.policy
		}
		if rule.selector.Empty() {
			break
		}
	}
	return strictest
}

// May says whether an object in a namespace may be protected, whatever its labels.
func (p Protection) May(namespace string) bool {
	return slices.ContainsFunc(p.rules, func(r protectionRule) bool { return r.in(namespace) })
}

func (r *protectionRule) in(namespace string) bool {
	return len(r.namespaces) == 0 || slices.Contains(r.namespaces, namespace)
}

// Homes are the cells that have to have the envelopes of a unit's objects in a cell, none where there is no other cell.
//
// They are the cells that would own the unit if this one left the ring: a promotion finds them there. Of a unit that
// moves, the ring in which this cell does not own it has no say: that is where its objects go to, or come from.
func (s *Snapshot) Homes(cell, unit string) []string {
	place, placed := s.Table.LookupKey(unit)
	if !placed {
		return nil
	}
	var out []string
	add := func(home string) {
		if home != "" && home != cell && (len(out) == 0 || out[0] != home) {
			out = append(out, home)
		}
	}
	if place.Old() == cell {
		add(place.OldBackup())
	}
	if place.New() == cell {
		add(place.NewBackup())
	}
	if place.Old() != cell && place.New() != cell {
		// A Dependent without the owner that would tell. Whoever owns the unit by its name has to have it.
		add(place.Old())
		add(place.New())
	}
	return out
}
