package kinds_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubecell/kubectl-cell/pkg/cli/kinds"
)

// TestSame: a kind is meant by each word that kubectl takes for it, and by no other.
func TestSame(t *testing.T) {
	known := kinds.Builtin()
	for _, test := range []struct {
		group, kind  string
		written, not []string
	}{
		{"apps", "Deployment", []string{"Deployment", "deployments", "deploy", "deployment.apps", "deployments.v1.apps"}, []string{"ds", "deployments.example.com", "deployes"}},
		{"networking.k8s.io", "Ingress", []string{"ingress", "ingresses", "ing", "ing.networking.k8s.io"}, []string{"in", "ingres"}},
		{"networking.k8s.io", "NetworkPolicy", []string{"networkpolicy", "networkpolicies", "netpol", "NetworkPolicy"}, []string{"np"}},
		{"policy", "PodDisruptionBudget", []string{"pdb", "poddisruptionbudgets"}, []string{"pod", "po"}},
		{"", "ServiceAccount", []string{"sa", "serviceaccounts"}, []string{"svc"}},
		{"", "Endpoints", []string{"ep", "endpoints"}, []string{"endpoint"}},
		{"apiextensions.k8s.io", "CustomResourceDefinition", []string{"crd", "crds"}, nil},
		{"", "PersistentVolumeClaim", []string{"pvc"}, []string{"pv"}},
		{"kubecell.io", "Cell", []string{"cell", "cells", "kccell", "cells.kubecell.io"}, nil},
		// An event need not say the group of its object.
		{"", "StatefulSet", []string{"sts", "statefulsets.apps"}, []string{"rs"}},
		// Kinds that are not in the table.
		{"example.com", "Widget", []string{"widget", "widgets", "Widget.example.com"}, []string{"gadget", "widgets.example.org"}},
		{"example.com", "Policy", []string{"policies"}, nil},
		{"example.com", "Box", []string{"boxes"}, nil},
		// One that is called like a kind of the table is another one.
		{"serving.knative.dev", "Service", []string{"service", "services.serving.knative.dev"}, []string{"svc", "sa"}},
	} {
		kind := schema.GroupKind{Group: test.group, Kind: test.kind}
		for _, word := range test.written {
			if !known.Same(kind, word) {
				t.Errorf("%s is not %s", word, kind)
			}
		}
		for _, word := range test.not {
			if known.Same(kind, word) {
				t.Errorf("%s is %s", word, kind)
			}
		}
	}
}
