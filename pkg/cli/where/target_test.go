package where

import (
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/cli/kinds"
)

func TestParse(t *testing.T) {
	r := &resolver{known: kinds.Builtin()}
	p := parser{namespace: "current", find: r.find}
	tests := []struct{ text, resource, namespace, name string }{
		{"checkout", "", "current", "checkout"},
		{"payments/checkout", "", "payments", "checkout"},
		{"deploy/checkout", "deployments.apps", "current", "checkout"},
		{"Deployment/checkout", "deployments.apps", "current", "checkout"},
		{"deployment.apps/checkout", "deployments.apps", "current", "checkout"},
		{"svc/payments/checkout", "services", "payments", "checkout"},
		// A namespace that is called like a kind needs the kind to be written.
		{"jobs/x", "jobs.batch", "current", "x"},
		{"cm/jobs/x", "configmaps", "jobs", "x"},
		{"ns/payments", "namespaces", "", "payments"},
		{"clusterrole/system:node", "clusterroles.rbac.authorization.k8s.io", "", "system:node"},
		{"a.b.c", "", "current", "a.b.c"},
	}
	for _, test := range tests {
		got, err := p.parse(test.text)
		if err != nil {
			t.Errorf("parse(%q): %v", test.text, err)
			continue
		}
		resource := ""
		if got.kind != nil {
			resource = got.kind.String()
		}
		if resource != test.resource || got.namespace != test.namespace || got.name != test.name {
			t.Errorf("parse(%q) = %q %q %q; want %q %q %q", test.text,
				resource, got.namespace, got.name, test.resource, test.namespace, test.name)
		}
	}
	for _, bad := range []string{
		"", "/", "a/", "/a", "a//b", "A", "a_b", "-a", "a b", "a\x00", "支付", "x/y/z", "deploy/a/b/c", "ns/a/b",
		"widgets.example.com/x", strings.Repeat("a", 254), strings.Repeat("a", 64) + "/x", strings.Repeat("a/", 1<<20),
	} {
		if got, err := p.parse(bad); err == nil {
			t.Errorf("parse(%.40q) = %+v; want an error", bad, got)
		} else if len(err.Error()) > 500 {
			t.Errorf("parse(%.40q): the error has %d characters", bad, len(err.Error()))
		}
	}
}

// Whatever is parsed names itself: what the first column shows leads to the same place.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"checkout", "payments/checkout", "deploy/x", "cm/payments/x", "ns/x", "a//b", "\xff"} {
		f.Add(seed)
	}
	r := &resolver{known: kinds.Builtin()}
	f.Fuzz(func(t *testing.T, text string) {
		p := parser{namespace: "current", find: r.find}
		first, err := p.parse(text)
		if err != nil {
			return
		}
		a := Answer{target: first}
		if first.kind == nil {
			if _, isKind := r.known.Find(first.namespace); isKind {
				return // a namespace that is called like a kind
			}
		}
		second, err := p.parse(a.title())
		if err != nil || second.namespace != first.namespace || second.name != first.name {
			t.Errorf("%q shows as %q, which is read as %+v, %v", text, a.title(), second, err)
		}
	})
}
