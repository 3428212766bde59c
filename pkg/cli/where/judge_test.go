package where

import (
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/kinds"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

func TestLabelOf(t *testing.T) {
	tests := []struct {
		name             string
		found            []Found
		status           string
		present, arrived bool
	}{
		{"nothing", nil, "migrated", false, false},
		{"not begun", []Found{{"old", "a", ""}}, "", true, false},
		{"one of two has begun", []Found{{"old", "a", ""}, {"old", "b", v1alpha1.Migrating}}, "migrating", true, false},
		{"on its way", []Found{{"old", "a", v1alpha1.Migrating}, {"new", "a", v1alpha1.Incoming}}, "migrating", true, false},
		{"moved", []Found{{"new", "a", ""}, {"old", "a", v1alpha1.Migrated}}, "migrated", true, true},
		{"tombstone gone", []Found{{"new", "a", ""}}, "migrated", false, true},
		{"in a third cell", []Found{{"other", "a", ""}}, "migrated", false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, present, arrived := labelOf(test.found, "old", "new")
			if status != test.status || present != test.present || arrived != test.arrived {
				t.Errorf("labelOf = %q, %v, %v; want %q, %v, %v", status, present, arrived, test.status, test.present, test.arrived)
			}
		})
	}
}

func TestJudgeSharded(t *testing.T) {
	withKind := target{kind: &kinds.Kind{}, namespace: "ns", name: "x"}
	all := []string{"c1", "c2", "c3"}
	tests := []struct {
		name     string
		old, new string
		target   target
		found    []Found
		asked    []string
		reason   string
		drift    bool
	}{
		{"as mapped", "c1", "c1", withKind, []Found{{"c1", "a", ""}}, all, "", false},
		{"nowhere, with kind", "c1", "c1", withKind, nil, all, "not found in c1", true},
		{"nowhere, without kind", "c1", "c1", target{name: "x"}, nil, all, "not found", false},
		{"nowhere, but its cell did not answer", "c1", "c1", withKind, nil, []string{"c2"}, "unknown: c1 does not answer", false},
		{"elsewhere", "c1", "c1", withKind, []Found{{"c2", "a", ""}}, all, "a is in c2", true},
		{"twice", "c1", "c1", withKind, []Found{{"c1", "a", ""}, {"c2", "a", ""}}, all, "a is in c1 and c2 at once", true},
		{"tombstone elsewhere", "c1", "c1", withKind, []Found{{"c1", "a", ""}, {"c2", "a", v1alpha1.Migrated}}, all, "", false},
		{"on its way", "c1", "c2", withKind, []Found{{"c1", "a", v1alpha1.Migrating}, {"c2", "a", v1alpha1.Incoming}}, all, "", false},
		{"arrived", "c1", "c2", withKind, []Found{{"c1", "a", v1alpha1.Migrated}, {"c2", "a", ""}}, all, "", false},
		{"in both at once", "c1", "c2", withKind, []Found{{"c1", "a", ""}, {"c2", "a", ""}}, all, "a is in c1 and c2 at once", true},
		{"unit half way", "c1", "c2", withKind, []Found{{"c1", "a", ""}, {"c2", "b", ""}}, all, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := Answer{Class: placement.Sharded, Cell: test.old, OldCell: test.old, NewCell: test.new, target: test.target}
			a.judge(test.found, test.asked)
			if a.Live.Reason != test.reason || a.Live.Drift != test.drift {
				t.Errorf("judged %q, drift %v; want %q, %v", a.Live.Reason, a.Live.Drift, test.reason, test.drift)
			}
		})
	}
}

// TestWhatEachCellMakesForItselfIsNoDrift: all cells have it, and one of them shows it.
func TestWhatEachCellMakesForItselfIsNoDrift(t *testing.T) {
	for _, test := range []struct {
		resource, namespace, name string
		drift                     bool
	}{
		{"configmaps", "ns", "kube-root-ca.crt", false},
		{"services", "default", "kubernetes", false},
		{"endpoints", "default", "kubernetes", false},
		{"endpointslices.discovery.k8s.io", "default", "kubernetes", false},
		{"services", "ns", "kubernetes", true},
		{"endpoints.example.com", "default", "kubernetes", true},
	} {
		a := Answer{
			Class: placement.Sharded, Namespace: test.namespace, Name: test.name, Cell: "c1", OldCell: "c1", NewCell: "c1",
			target: target{kind: &kinds.Kind{}, namespace: test.namespace, name: test.name},
		}
		a.judge([]Found{{"c1", test.resource, ""}, {"c2", test.resource, ""}}, []string{"c1", "c2"})
		if a.Live.Drift != test.drift {
			t.Errorf("%s %s/%s in both: drift %v, %q; want %v", test.resource, test.namespace, test.name, a.Live.Drift, a.Live.Reason, test.drift)
		}
	}
}
