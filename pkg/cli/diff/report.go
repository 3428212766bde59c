package diff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/ringchange"
	"github.com/kubecell/kubectl-cell/pkg/plan"
)

// report is the data of `diff -o json`.
type report struct {
	Epoch int64              `json:"epoch"`
	Phase v1alpha1.RingPhase `json:"phase"`
	// Namespace is the only one whose workloads count; absent where all do.
	Namespace string `json:"namespace,omitempty"`
	// Differs are the changes of members and points: "+cell-6", "-cell-2", "cell-3 100→120".
	Differs []string `json:"differs"`
	// Rules are the changes of resource rules.
	Rules []RuleChange `json:"rules"`
	// Preview is absent where nothing differs, and where nothing is placed yet.
	Preview *plan.Preview `json:"preview,omitempty"`
	// Estimate is absent where no earlier rebalance says how fast one is.
	Estimate *Estimate `json:"estimate,omitempty"`

	// names are the workloads that would move; only for -o name.
	names      []string
	warnings   []string
	incomplete bool
}

// RuleChange is a rule for a resource that is added, removed or changed. Empty means no rule: the
// default.
type RuleChange struct {
	// Resource is "<plural>.<group>", or "*.<group>" for a whole group.
	Resource string `json:"resource"`
	// Before and After are "<class>" or "<class> by <key>".
	Before string `json:"before"`
	After  string `json:"after"`
}

func newReport(ring *v1alpha1.Ring) *report {
	r := &report{
		Epoch: ring.Status.Epoch, Phase: ring.Status.Phase,
		Differs: ringchange.Differences(ring), Rules: ruleChanges(ring),
	}
	if ring.Status.Target != nil {
		r.warnings = append(r.warnings,
			"a rebalance is running: workloads are on their way, and a change of the wanted ring waits for the next one")
	}
	return r
}

func (r *report) differs() bool { return len(r.Differs)+len(r.Rules) > 0 }

// ruleChanges compares the rules of the current and the wanted ring, by resource.
func ruleChanges(ring *v1alpha1.Ring) []RuleChange {
	before := map[string]string{}
	if ring.Status.Current != nil {
		before = rules(ring.Status.Current)
	}
	after := rules(&ring.Spec.RingLayout)
	out := []RuleChange{}
	for resource, rule := range after {
		if before[resource] != rule {
			out = append(out, RuleChange{Resource: resource, Before: before[resource], After: rule})
		}
	}
	for resource, rule := range before {
		if after[resource] == "" {
			out = append(out, RuleChange{Resource: resource, Before: rule})
		}
	}
	slices.SortFunc(out, func(a, b RuleChange) int { return strings.Compare(a.Resource, b.Resource) })
	return out
}

func rules(layout *v1alpha1.RingLayout) map[string]string {
	out := make(map[string]string, len(layout.Resources))
	for _, r := range layout.Resources {
		resource, rule := r.Resource, string(r.Class)
		if r.Group != "" {
			resource += "." + r.Group
		}
		if r.Key != "" {
			rule += " by " + string(r.Key)
		}
		out[resource] = rule
	}
	return out
}

// line is the change in words, for people.
func (c RuleChange) line() string {
	before, after := c.Before, c.After
	if before == "" {
		before = "default"
	}
	if after == "" {
		after = "default"
	}
	return fmt.Sprintf("%s %s → %s", c.Resource, before, after)
}
